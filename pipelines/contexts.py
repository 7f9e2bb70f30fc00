"""Contexts of different lengths, for a model that is to see them in one call."""

import torch
from torch import Tensor


def matched(context: Tensor, length: int) -> Tensor:
    """Bring a context [N,L,D] to [N,length,D]: cut off, or its last vector repeated.

    What webui before 1.6 did to the unconditional context of DDIM and PLMS.
    """
    missing = length - context.shape[1]
    if missing <= 0:
        return context[:, :length]
    return torch.cat([context, context[:, -1:].expand(-1, missing, -1)], dim=1)
