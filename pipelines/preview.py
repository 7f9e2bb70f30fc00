"""A quick look at latents that are still being sampled."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .pixels import to_bytes

if TYPE_CHECKING:
    from models.families.base import Checkpoint

#: RGB of each SD1 latent channel, a published least-squares fit to the SD1 VAE
_SD1_TO_RGB = (
    (0.298, 0.207, 0.208),
    (0.187, 0.286, 0.173),
    (-0.158, 0.189, 0.264),
    (-0.184, -0.271, -0.473),
)
#: a VAE of fewer weights is so cheap that the preview is a real decode
_SMALL_VAE = 10_000_000


def draw(checkpoint: "Checkpoint", latents: Tensor) -> NDArray[np.uint8]:
    """Pixels [N,H,W,3] of latents [N,4,h,w]: an eighth of the size, unless the VAE is tiny."""
    if sum(p.numel() for p in checkpoint.vae.parameters()) < _SMALL_VAE:
        pixels = checkpoint.decode(latents)
    else:
        to_rgb = torch.tensor(_SD1_TO_RGB, device=latents.device)
        pixels = torch.einsum("nchw,cr->nrhw", latents.float(), to_rgb)
    return to_bytes(pixels)
