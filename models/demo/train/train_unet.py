"""The UNet and its text encoder, trained together on analytic latents to predict velocity.

Velocity, not noise: a picture's overall colour is the mean of its latent, which in the noise is
one part in sixteen and must be told from it at the very first steps. A UNet this narrow learns that
slowly from noise, and at once from velocity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel

from ..world.caption import Caption, Scene
from . import networks
from .captions import CaptionTokens, TokenRows, conditioning
from .dataset import LatentSet, TrainingSet
from .loop import Pace, Part, train
from .train_text import warm_up

EMPTY = Caption.plain("")

_LARGE_EVERY, _LARGE_SHARE = 10, 4
"""Every tenth step sees a quarter of the batch at twice the side, which costs the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnetRecipe:
    """What the score depends on."""

    seed: int = 20
    batch: int = 32
    pace: Pace = field(
        default_factory=lambda: Pace(steps=8_000, rate=1e-3, steady_share=0.5, ema=0.998)
    )
    text_share: float = 0.3
    empty_captions: float = 0.1
    text_pace: Pace = field(default_factory=lambda: Pace(steps=2_500, rate=2e-3, ema=0.99))
    text_batch: int = 48


class Painter(nn.Module):
    """Text encoder and UNet as one module: tokens and noisy latents to velocity."""

    def __init__(self) -> None:
        super().__init__()
        self.text: CLIPTextModel = networks.text_encoder()
        self.unet: UNet2DConditionModel = networks.unet()

    def forward(self, noisy: Tensor, timesteps: Tensor, rows: TokenRows) -> Tensor:
        """[N, 4, h, w], int64 [N] and N rows to the velocity, float32 [N, 4, h, w]."""
        context = conditioning(self.text, rows)
        velocity: Tensor = self.unet(noisy, timesteps, context, return_dict=False)[0]
        return velocity


def train_unet(
    data: TrainingSet, tokens: CaptionTokens, recipe: UnetRecipe, folder: Path
) -> Painter:
    """The averaged painter; taken up from `folder` if it was begun there."""
    torch.manual_seed(recipe.seed)
    painter = Painter()
    warm_up(
        painter.text,
        tokens,
        recipe.text_pace,
        batch=recipe.text_batch,
        seed=recipe.seed,
        folder=folder,
    )

    def loss(step: int, random: Random, generator: torch.Generator) -> Tensor:
        large = step % _LARGE_EVERY == _LARGE_EVERY - 1
        source = data.large if large else data.native
        count = max(1, recipe.batch // _LARGE_SHARE) if large else recipe.batch
        clean, captions = choose(source, count, random, empty=recipe.empty_captions)
        return velocity_loss(painter, clean, tokens(captions), generator)

    parts = (
        Part(parameters=list(painter.unet.parameters())),
        Part(parameters=list(painter.text.parameters()), share=recipe.text_share),
    )
    train("unet", parts, loss, recipe.pace, seed=recipe.seed, folder=folder)
    return painter.eval()


def choose(
    source: LatentSet, count: int, random: Random, *, empty: float
) -> tuple[Tensor, list[Caption]]:
    """`count` latents with fresh captions, a share of which is empty."""
    rows = [random.randrange(len(source.scenes)) for _ in range(count)]
    return source.latents[rows], described([source.scenes[row] for row in rows], random, empty)


def described(scenes: Sequence[Scene], random: Random, empty: float = 0.1) -> list[Caption]:
    """A fresh caption of each scene, or, in a share of them, none."""
    return [EMPTY if random.random() < empty else scene.describe(random) for scene in scenes]


def velocity_loss(
    painter: Painter, clean: Tensor, rows: TokenRows, generator: torch.Generator
) -> Tensor:
    """Mean squared error of the velocity at uniform times."""
    noisy, timesteps, velocity = noised(clean, generator)
    return functional.mse_loss(painter(noisy, timesteps, rows), velocity)


def noised(clean: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Clean latents at uniform times: the noisy ones, their timesteps and their velocity."""
    noise = torch.randn(clean.shape, generator=generator)
    timesteps = torch.randint(0, networks.TIMESTEPS, (len(clean),), generator=generator)
    share = networks.alphas_cumprod()[timesteps].view(-1, 1, 1, 1)
    noisy = share.sqrt() * clean + (1 - share).sqrt() * noise
    velocity = share.sqrt() * noise - (1 - share).sqrt() * clean
    return noisy, timesteps, velocity
