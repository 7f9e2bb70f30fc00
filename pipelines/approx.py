"""Pictures from latents and back, by the autoencoder or by something cheaper."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.approx_files import LatentSpace

if TYPE_CHECKING:
    from models.approx import ApproxVaes
    from models.families.base import Checkpoint

    from .plan import VaeMethod

#: RGB of each latent channel, published least-squares fits to the VAEs of SD1 and SDXL
#: (https://discuss.huggingface.co/t/decoding-latents-to-rgb-without-upscaling/23204)
TO_RGB: Mapping[LatentSpace, tuple[tuple[float, float, float], ...]] = {
    "SD1": (
        (0.298, 0.207, 0.208),
        (0.187, 0.286, 0.173),
        (-0.158, 0.189, 0.264),
        (-0.184, -0.271, -0.473),
    ),
    "SDXL": (
        (0.3448, 0.4168, 0.4395),
        (-0.1953, -0.0290, 0.0250),
        (0.1074, 0.0886, -0.0163),
        (-0.3730, -0.2499, -0.2088),
    ),
}


def cheap(latents: Tensor, space: LatentSpace) -> Tensor:
    """Turn latents [N,4,h,w] as sampled into pixels [N,3,h,w], nominally in [-1,1]."""
    to_rgb = torch.tensor(TO_RGB[space], device=latents.device)
    return torch.einsum("nchw,cr->nrhw", latents.float(), to_rgb)


def decode(
    checkpoint: "Checkpoint", latents: Tensor, method: "VaeMethod", approx: "ApproxVaes"
) -> Tensor:
    """Turn latents [N,4,h,w] into pixels nominally in [-1,1].

    They are [N,3,8h,8w], of "Approx NN" [N,3,2h,2w], of "Approx cheap" [N,3,h,w]. Where a
    method's weights are absent, the autoencoder does it. Raises NansException.
    """
    space = checkpoint.traits.latent_space
    if method == "Approx cheap":
        return cheap(latents, space)
    pixels: Tensor | None = None
    if method == "TAESD":
        pixels = approx.taesd_decoded(latents, space)
    elif method == "Approx NN":
        pixels = approx.network_decoded(latents, space)
    return checkpoint.decode(latents) if pixels is None else pixels


def encode(
    checkpoint: "Checkpoint", pixels: Tensor, method: "VaeMethod", approx: "ApproxVaes"
) -> Tensor:
    """Turn pixels [N,3,8h,8w] in [-1,1] into latents [N,4,h,w]; only TAESD encodes beside the VAE.

    Where its weights are absent, the autoencoder does it. Raises NansException.
    """
    latents: Tensor | None = None
    if method == "TAESD":
        latents = approx.taesd_encoded(pixels, checkpoint.traits.latent_space)
    return checkpoint.encode_image(pixels) if latents is None else latents
