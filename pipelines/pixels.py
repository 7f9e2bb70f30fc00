"""Between the VAE's numbers in [-1, 1] and the bytes of pictures."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_bytes(pixels: Tensor) -> NDArray[np.uint8]:
    """Pictures [N,3,H,W] as uint8 [N,H,W,3]; 255 x is truncated as the reference does."""
    scaled = 255.0 * ((pixels + 1.0) / 2.0).clamp(0.0, 1.0)
    return np.asarray(scaled.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy(), np.uint8)


def from_bytes(pixels: NDArray[np.uint8]) -> Tensor:
    """Pictures uint8 [N,H,W,3] as [N,3,H,W] in [-1, 1]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255.0 * 2.0 - 1.0
