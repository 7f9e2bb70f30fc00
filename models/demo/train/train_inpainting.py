"""The demo for inpainting: a UNet that also sees a mask and what the mask leaves of a picture.

As in RunwayML's inpainting models, five channels more: the mask (1 where there is to be painted)
and the latent of the picture with the masked part grey.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor
from torch.nn import functional

from ..world import sampling
from ..world.caption import Caption, Scene
from . import networks
from .captions import CaptionTokens, conditioning
from .dataset import pictures
from .latents import Normalisation, analytic_latents
from .loop import Pace, Part, train
from .masks import mask, masked
from .networks import LATENT_CHANNELS, PICTURE_SIZE
from .train_unet import EMPTY, Painter, noised

IN_CHANNELS = 2 * LATENT_CHANNELS + 1

_EMPTY_CAPTIONS, _NO_GROUND, _TRIES = 0.15, 0.6, 30
"""More than elsewhere say nothing, or not what the ground is: it is seen around the mask."""

_ENTRY_SHARE = 3.0
"""How much faster the first layer learns, which has the new channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InpaintingRecipe:
    """What the variant depends on."""

    seed: int = 60
    batch: int = 32
    pace: Pace = field(default_factory=lambda: Pace(steps=2_000, rate=1e-3, ema=0.99))


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
        masks = torch.stack([mask(random, PICTURE_SIZE) for _ in scenes])
        clean, left = (
            normalisation.apply(analytic_latents(shown)) for shown in (drawn, masked(drawn, masks))
        )
        small = functional.interpolate(masks, size=clean.shape[-2:])
        noisy, timesteps, velocity = noised(clean, generator)
        context = conditioning(
            painter.text, tokens([_described(scene, random) for scene in scenes])
        )
        given = torch.cat([noisy, small, left], dim=1)
        predicted = unet(given, timesteps, context, return_dict=False)[0]
        return functional.mse_loss(predicted, velocity)

    entry = list(unet.conv_in.parameters())
    others = [p for name, p in unet.named_parameters() if not name.startswith("conv_in.")]
    parts = (Part(parameters=others), Part(parameters=entry, share=_ENTRY_SHARE))
    train("inpainting", parts, loss, recipe.pace, seed=recipe.seed, folder=folder)
    return unet.eval()


def widened(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """A copy that takes five channels more and does not look at them yet."""
    wide = networks.unet(in_channels=IN_CHANNELS)
    state = dict(unet.state_dict())
    narrow = state["conv_in.weight"]
    state["conv_in.weight"] = torch.cat(
        [narrow, narrow.new_zeros(len(narrow), IN_CHANNELS - LATENT_CHANNELS, 3, 3)], dim=1
    )
    wide.load_state_dict(state)
    return wide.requires_grad_(True)


def _described(scene: Scene, random: Random) -> Caption:
    if random.random() < _EMPTY_CAPTIONS:
        return EMPTY
    tries = _TRIES if random.random() < _NO_GROUND else 1
    captions = (scene.describe(random) for _ in range(tries))
    return next((one for one in captions if "ground" not in one.facts), scene.describe(random))
