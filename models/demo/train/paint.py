"""Painting straight from the modules, to score a checkpoint before or without a server.

Euler ancestral over sigmas, classifier-free guidance, and the plain SD1 decoding rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTextModel

from . import convert, networks
from .captions import CaptionTokens

Painting = Callable[[Sequence[str], float, Sequence[int]], NDArray[np.uint8]]
"""Prompts, guidance and seeds to pictures, uint8 [N, H, W, 3]."""


def painting_from(path: Path, tokens: CaptionTokens, *, steps: int = 20) -> Painting:
    """Reads a checkpoint of `convert.save` and returns the function that paints with it."""
    unet, vae, text = networks.unet(), networks.autoencoder(), networks.text_encoder()
    convert.load_into(path, unet, vae, text)
    for module in (unet, vae, text):
        module.eval()

    @torch.inference_mode()
    def paint(prompts: Sequence[str], guidance: float, seeds: Sequence[int]) -> NDArray[np.uint8]:
        latents = sample_latents(unet, text, tokens, prompts, guidance, seeds, steps)
        pictures = vae.decode(latents / networks.LATENT_SCALE).sample
        return to_pixels(pictures)

    return paint


def to_pixels(pictures: Tensor) -> NDArray[np.uint8]:
    """[N, 3, H, W] in [-1, 1], clamped, to uint8 [N, H, W, 3]."""
    scaled = (pictures.clamp(-1, 1) + 1) * 127.5
    return np.asarray(scaled.round().byte().permute(0, 2, 3, 1))


@torch.inference_mode()
def sample_latents(
    unet: UNet2DConditionModel,
    text: CLIPTextModel,
    tokens: CaptionTokens,
    prompts: Sequence[str],
    guidance: float,
    seeds: Sequence[int],
    steps: int,
) -> Tensor:
    """Scaled latents [N, 4, 16, 16] by Euler ancestral; each seed has a noise stream of its own."""
    side = networks.PICTURE_SIZE // 8
    shape = (networks.LATENT_CHANNELS, side, side)
    streams = [torch.Generator().manual_seed(seed) for seed in seeds]

    def noise() -> Tensor:
        return torch.stack([torch.randn(shape, generator=stream) for stream in streams])

    asked = text(tokens(prompts)).last_hidden_state
    empty = text(tokens([""])).last_hidden_state.expand_as(asked)
    context = torch.cat([asked, empty])
    sigmas, timesteps = _schedule(steps)
    x = noise() * sigmas[0]
    for place, timestep in enumerate(timesteps):
        sigma, following = sigmas[place], sigmas[place + 1]
        root = (sigma**2 + 1).sqrt()
        scaled = x / root
        with torch.autocast("cpu", dtype=torch.bfloat16):
            both = unet(torch.cat([scaled, scaled]), timestep, context, return_dict=False)[0]
        wanted, plain = both.float().chunk(2)
        velocity = plain + guidance * (wanted - plain)
        # With alpha = 1 / root: noise = alpha * velocity + alpha * sigma * scaled.
        direction = (velocity + sigma * scaled) / root
        up = torch.minimum(
            following, (following**2 * (sigma**2 - following**2) / sigma**2).clamp(min=0).sqrt()
        )
        down = (following**2 - up**2).sqrt()
        x = x + direction * (down - sigma) + noise() * up
    return x


def _schedule(steps: int) -> tuple[Tensor, Tensor]:
    """Sigmas [steps + 1] falling to zero, and their timesteps [steps], evenly from the last."""
    share = networks.alphas_cumprod()
    logs = ((1 - share) / share).sqrt().log()
    timesteps = torch.linspace(networks.TIMESTEPS - 1, 0, steps)
    lower, upper = timesteps.floor().long(), timesteps.ceil().long()
    sigmas = logs[lower].lerp(logs[upper], timesteps - lower).exp()
    return torch.cat([sigmas, torch.zeros(1)]), timesteps
