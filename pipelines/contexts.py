"""Conditionings taken apart and put together; contexts of different lengths for one call."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .steps import Conditioning


def separate(told: Conditioning) -> tuple[Conditioning, ...]:
    """Each row of a conditioning by itself."""
    contexts = torch.split(told.context, 1)
    if told.vector is None:
        return tuple(Conditioning(context) for context in contexts)
    vectors = torch.split(told.vector, 1)
    return tuple(map(Conditioning, contexts, vectors))


def stacked(told: Sequence[Conditioning]) -> Conditioning:
    """Several conditionings as the rows of one.

    Shorter contexts are lengthened by repeating their last vector.
    """
    longest = max(each.context.shape[1] for each in told)
    contexts = [
        context if context.shape[1] == longest else matched(context, longest)
        for context in (each.context for each in told)
    ]
    vectors = [each.vector for each in told if each.vector is not None]
    return Conditioning(torch.cat(contexts), torch.cat(vectors) if vectors else None)


def padded(context: Tensor, length: int, filler: Tensor) -> Tensor:
    """`context` [N,L,D] lengthened to at least `length` by whole chunks of an empty prompt."""
    missing = (length - context.shape[1]) // filler.shape[1]
    return torch.cat([context, *[filler.expand(context.shape[0], -1, -1)] * max(missing, 0)], dim=1)


def matched(context: Tensor, length: int) -> Tensor:
    """Bring a context [N,L,D] to [N,length,D]: cut off, or its last vector repeated.

    What webui before 1.6 did to the unconditional context of DDIM and PLMS.
    """
    missing = length - context.shape[1]
    if missing <= 0:
        return context[:, :length]
    return torch.cat([context, context[:, -1:].expand(-1, missing, -1)], dim=1)
