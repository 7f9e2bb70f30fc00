"""What inpainting and instruct-pix2pix models are shown beside the latents, as more channels."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from .noise import SCALE
from .plan import BadPlan, VaeMethod
from .steps import EncodeImage, Stepping

if TYPE_CHECKING:
    from models.families.base import ModelTraits


def is_inpainting(traits: "ModelTraits") -> bool:
    """Whether the model takes a mask and a masked picture's latents beside its own."""
    return traits.in_channels == 2 * traits.latent_channels + 1


def is_edit(traits: "ModelTraits") -> bool:
    """Whether the model takes a picture's latents beside its own (instruct-pix2pix)."""
    return traits.in_channels == 2 * traits.latent_channels


def shown_nothing(
    width: int, height: int, method: VaeMethod, traits: "ModelTraits"
) -> Stepping[Tensor | None]:
    """What a picture from text alone shows: all of it is to be painted. Answer: [1,C,h,w].

    None for a model that takes nothing but latents. Raises `BadPlan` for other numbers of channels.
    """
    if traits.in_channels == traits.latent_channels:
        return None
    size = height // SCALE, width // SCALE
    if is_edit(traits):
        return torch.zeros(1, traits.latent_channels, *size, device=traits.device)
    grey = torch.zeros(1, 3, size[0] * SCALE, size[1] * SCALE, device=traits.device)
    return (yield from shown_picture(grey, None, 1.0, method, traits))


def shown_picture(
    pixels: Tensor,
    mask: Tensor | None,
    mask_weight: float,
    method: VaeMethod,
    traits: "ModelTraits",
) -> Stepping[Tensor | None]:
    """What `pixels` [N,3,H,W] in [-1,1] show with `mask` [1,1,H,W] (1: repaint; None: all of it).

    The masked part is hidden by `mask_weight`. Answer and errors as of `shown_nothing`.
    """
    if traits.in_channels == traits.latent_channels:
        return None
    if is_edit(traits):
        latents: Tensor = yield EncodeImage(pixels, method)
        return latents / traits.latent_scale
    if not is_inpainting(traits):
        raise BadPlan(
            f"a model of {traits.in_channels} input channels; allowed: {traits.latent_channels}, "
            f"{2 * traits.latent_channels} and {2 * traits.latent_channels + 1}"
        )
    pixels = pixels.to(traits.device)
    if mask is None:
        mask = torch.ones(1, 1, *pixels.shape[-2:])
    mask = mask.to(traits.device)
    hidden = torch.lerp(pixels, pixels * (1 - mask), mask_weight)
    encoded: Tensor = yield EncodeImage(hidden, method)
    small = functional.interpolate(mask, size=encoded.shape[-2:])
    return torch.cat([small.expand(len(encoded), -1, -1, -1), encoded], dim=1)
