"""Analytic latents: an 8x8 block's mean colour and its contrast, in place of a learned encoder's.

They cost nothing, the UNet learns on them at once, and the decoder that follows only
has to learn how an edge runs through a block.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

BLOCK = 8
_CONTRAST_GAIN, _CONTRAST_OFFSET = 2.0, 0.3


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Normalisation:
    """Mean and standard deviation of each latent channel over the training set, both [4]."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, latents: Tensor) -> Normalisation:
        """Measured on raw latents [N, 4, h, w]."""
        return cls(mean=latents.mean((0, 2, 3)), deviation=latents.std((0, 2, 3)))

    def apply(self, latents: Tensor) -> Tensor:
        """Raw latents to zero mean and unit deviation."""
        return (latents - self.mean.view(-1, 1, 1)) / self.deviation.view(-1, 1, 1)

    def undo(self, latents: Tensor) -> Tensor:
        """The inverse of `apply`."""
        return latents * self.deviation.view(-1, 1, 1) + self.mean.view(-1, 1, 1)


def analytic_latents(pictures: Tensor) -> Tensor:
    """Pictures [N, 3, H, W] in [-1, 1] to raw latents [N, 4, H/8, W/8]: colour and contrast."""
    colour = functional.avg_pool2d(pictures, BLOCK)
    grey = pictures.mean(1, keepdim=True)
    mean = functional.avg_pool2d(grey, BLOCK)
    variance = functional.avg_pool2d(grey.square(), BLOCK) - mean.square()
    contrast = _CONTRAST_GAIN * variance.clamp(min=0).sqrt() - _CONTRAST_OFFSET
    return torch.cat([colour, contrast], dim=1)
