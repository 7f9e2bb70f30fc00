"""The demo for inpainting: a UNet that also sees a mask and what the mask leaves of a picture.

As in RunwayML's inpainting models, five channels more: the mask (1 where there is to be painted)
and the latent of the picture with the masked part grey.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor
from torch.nn import functional

from ..world import sampling
from . import networks
from .captions import CaptionTokens, conditioning
from .dataset import pictures
from .latents import BLOCK, Normalisation, analytic_latents
from .loop import Pace, Part, train
from .networks import LATENT_CHANNELS, PICTURE_SIZE
from .train_unet import Painter, described, noised

IN_CHANNELS = 2 * LATENT_CHANNELS + 1

_ALL_MASKED = 0.15
"""The share of pictures that are masked whole, as when there is no picture yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InpaintingRecipe:
    """What the variant depends on."""

    seed: int = 60
    batch: int = 32
    pace: Pace = field(default_factory=lambda: Pace(steps=1_200, rate=5e-4, ema=0.99))


def train_inpainting(
    painter: Painter,
    normalisation: Normalisation,
    tokens: CaptionTokens,
    recipe: InpaintingRecipe,
    folder: Path,
) -> UNet2DConditionModel:
    """A UNet of nine channels, begun as the painter's own; its text encoder stays as it is."""
    torch.manual_seed(recipe.seed)
    painter.requires_grad_(False)
    unet = widened(painter.unet)

    def loss(_step: int, random: Random, generator: torch.Generator) -> Tensor:
        scenes = [sampling.sample(random) for _ in range(recipe.batch)]
        drawn = pictures(scenes)
        masks = torch.stack([mask(random) for _ in scenes])
        clean, left = (
            normalisation.apply(analytic_latents(shown)) for shown in (drawn, masked(drawn, masks))
        )
        small = functional.interpolate(masks, size=clean.shape[-2:])
        noisy, timesteps, velocity = noised(clean, generator)
        context = conditioning(painter.text, tokens(described(scenes, random)))
        given = torch.cat([noisy, small, left], dim=1)
        predicted = unet(given, timesteps, context, return_dict=False)[0]
        return functional.mse_loss(predicted, velocity)

    parts = (Part(parameters=list(unet.parameters())),)
    train("inpainting", parts, loss, recipe.pace, seed=recipe.seed, folder=folder)
    return unet.eval()


def widened(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """A copy that takes five channels more and does not look at them yet."""
    wide = networks.unet(in_channels=IN_CHANNELS)
    state = deepcopy(unet.state_dict())
    narrow = state["conv_in.weight"]
    state["conv_in.weight"] = torch.cat(
        [narrow, narrow.new_zeros(len(narrow), IN_CHANNELS - LATENT_CHANNELS, 3, 3)], dim=1
    )
    wide.load_state_dict(state)
    return wide.requires_grad_(True)


def mask(random: Random) -> Tensor:
    """A rectangle on the grid of latents, or everything: float32 [1, size, size] of 0 and 1."""
    cells = PICTURE_SIZE // BLOCK
    drawn = torch.zeros(1, PICTURE_SIZE, PICTURE_SIZE)
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
