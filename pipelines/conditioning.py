"""Chunks to conditioning: the text encoder's output, weighted by emphasis."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .steps import Encode

if TYPE_CHECKING:
    from models.families.base import Checkpoint


def encode(checkpoint: "Checkpoint", wanted: Encode) -> Tensor:
    """Conditioning [1,77*chunks,D] of one prompt on the checkpoint's device.

    Each chunk is weighted token by token; "Original" emphasis then scales the chunk back to the
    mean it had before, as the reference does.
    """
    ids = torch.tensor([chunk.ids for chunk in wanted.chunks], device=checkpoint.device)
    states = checkpoint.encode_tokens(ids, wanted.encoding.clip_skip)
    if wanted.encoding.emphasis in ("Original", "No norm"):
        weights = torch.tensor([chunk.weights for chunk in wanted.chunks], device=states.device)
        weighted = states * weights.to(states.dtype).unsqueeze(-1)
        if wanted.encoding.emphasis == "Original":
            before = states.mean(dim=(1, 2), keepdim=True)
            weighted = weighted * (before / weighted.mean(dim=(1, 2), keepdim=True))
        states = weighted
    return states.reshape(1, -1, states.shape[-1])
