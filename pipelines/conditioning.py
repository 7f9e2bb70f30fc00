"""Chunks to conditioning: the text encoder's output, weighted by emphasis."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .prompt.chunks import Chunk
from .steps import Encode

if TYPE_CHECKING:
    from models.families.base import Checkpoint


def encode(checkpoint: "Checkpoint", wanted: Encode) -> Tensor:
    """Conditioning [texts,77*chunks,D] of a prompt's texts on the checkpoint's device.

    Texts of fewer chunks are lengthened by empty ones. "Original" emphasis scales the texts' chunks
    of the same place back to the mean they had together, as the reference does.
    """
    longest = max(len(text) for text in wanted.texts)
    texts = [(*text, *[wanted.empty] * (longest - len(text))) for text in wanted.texts]
    return torch.cat(
        [_encode_place(checkpoint, wanted, place) for place in zip(*texts, strict=True)], dim=1
    )


def _encode_place(checkpoint: "Checkpoint", wanted: Encode, chunks: Sequence[Chunk]) -> Tensor:
    """The encoder's output [texts,77,D] for one chunk of each text, weighted."""
    ids = torch.tensor([chunk.ids for chunk in chunks], device=checkpoint.device)
    vectors = [
        [(each.position, each.embedding.tensors[0]) for each in chunk.insertions]
        for chunk in chunks
    ]
    states = checkpoint.encode_tokens(ids, wanted.encoding.clip_skip, vectors)
    if wanted.encoding.emphasis not in ("Original", "No norm"):
        return states
    weights = torch.tensor([chunk.weights for chunk in chunks], device=states.device)
    weighted = states * weights.to(states.dtype).unsqueeze(-1)
    if wanted.encoding.emphasis == "No norm":
        return weighted
    return weighted * (states.mean() / weighted.mean())
