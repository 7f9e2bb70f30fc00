"""A quick look at latents that are still being sampled."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .approx import cheap
from .pixels import to_bytes

if TYPE_CHECKING:
    from models.approx import ApproxVaes
    from models.families.base import Checkpoint

    from .plan import VaeMethod

#: a VAE of fewer weights is so cheap that it stands in for the networks that have none
_SMALL_VAE = 10_000_000
#: what a VAE enlarges by, of what "Approx NN" does
_SHRUNK = 4


def draw(
    checkpoint: "Checkpoint", latents: Tensor, method: "VaeMethod", approx: "ApproxVaes"
) -> NDArray[np.uint8]:
    """Pixels [N,H,W,3] of latents [N,4,h,w], by the autoencoder itself only where that is asked.

    They are 8h high, of "Approx NN" 2h, of "Approx cheap" h. TAESD without its weights is done by
    "Approx NN", and that without weights by "Approx cheap", or by a VAE as small as such a network,
    of latents so much averaged that it is as high and costs as little.
    """
    return to_bytes(_pixels(checkpoint, latents, method, approx))


def _pixels(
    checkpoint: "Checkpoint", latents: Tensor, method: "VaeMethod", approx: "ApproxVaes"
) -> Tensor:
    if method == "Full":
        return checkpoint.decode(latents)
    space = checkpoint.traits.latent_space
    if method == "Approx cheap":
        return cheap(latents, space)
    pixels = approx.taesd_decoded(latents, space) if method == "TAESD" else None
    if pixels is None:
        pixels = approx.network_decoded(latents, space)
    if pixels is not None:
        return pixels
    small = sum(p.numel() for p in checkpoint.vae.parameters()) < _SMALL_VAE
    return checkpoint.decode(_averaged(latents)) if small else cheap(latents, space)


def _averaged(latents: Tensor) -> Tensor:
    """Latents of a quarter of the sides, at least 1."""
    height, width = (-(-side // _SHRUNK) for side in latents.shape[-2:])
    return functional.adaptive_avg_pool2d(latents, (height, width))
