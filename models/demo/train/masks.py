"""What inpainting hides of a picture."""

from __future__ import annotations

from random import Random

import torch
from torch import Tensor

from .latents import BLOCK

_ALL_MASKED = 0.1
"""The share of pictures that are masked whole, as when there is no picture yet."""


def mask(random: Random, size: int) -> Tensor:
    """A rectangle on the grid of latents, or everything: float32 [1, size, size] of 0 and 1."""
    cells = size // BLOCK
    drawn = torch.zeros(1, size, size)
    if random.random() < _ALL_MASKED:
        return drawn + 1
    height, width = (random.randint(cells // 4, cells - 2) for _ in range(2))
    top, left = random.randint(0, cells - height), random.randint(0, cells - width)
    rows = slice(top * BLOCK, (top + height) * BLOCK)
    drawn[:, rows, left * BLOCK : (left + width) * BLOCK] = 1
    return drawn


def masked(drawn: Tensor, masks: Tensor) -> Tensor:
    """Pictures in [-1, 1] with the masked part grey."""
    return drawn * (1 - masks)
