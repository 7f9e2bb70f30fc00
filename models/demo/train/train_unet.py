"""The UNet and its text encoder, trained together on analytic latents to predict velocity.

Velocity, not noise: a picture's overall colour is the mean of its latent, which in the noise is
one part in sixteen and must be told from it at the very first steps. A UNet this narrow (pairs of
channels in each group norm) never learnt that from noise, and learnt it from velocity at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import trange
from transformers import CLIPTextModel

from ..pictures import caption
from . import networks
from .captions import CaptionTokens
from .dataset import LatentSet
from .resume import Keeper
from .train_text import warm_up


@dataclass(frozen=True, slots=True, kw_only=True)
class UnetRecipe:
    """What the score depends on."""

    seed: int = 20
    steps: int = 2400
    batch: int = 32
    learning_rate: float = 1e-3
    text_learning_rate: float = 3e-4
    steady_share: float = 0.7
    empty_captions: float = 0.1
    ema: float = 0.995
    text_steps: int = 1500
    text_batch: int = 32


class Painter(nn.Module):
    """Text encoder and UNet as one module: tokens and noisy latents to velocity."""

    def __init__(self) -> None:
        super().__init__()
        self.text: CLIPTextModel = networks.text_encoder()
        self.unet: UNet2DConditionModel = networks.unet()

    def forward(self, noisy: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """[N, 4, h, w], int64 [N], int64 [N, 77] to the velocity, float32 [N, 4, h, w]."""
        context = self.text(tokens).last_hidden_state
        velocity: Tensor = self.unet(noisy, timesteps, context, return_dict=False)[0]
        return velocity.float()


def train_unet(data: LatentSet, tokens: CaptionTokens, recipe: UnetRecipe, folder: Path) -> Painter:
    """The averaged painter after `recipe.steps`; taken up from `folder` if it was begun there."""
    torch.manual_seed(recipe.seed)
    painter = Painter()
    blend = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
    average = AveragedModel(painter, multi_avg_fn=blend)
    optimiser = _optimiser(painter, recipe)
    random, generator = Random(recipe.seed), torch.Generator().manual_seed(recipe.seed)
    keeper = Keeper(folder / "unet.pt")

    begun = keeper.load()
    if begun is None:
        warm_up(
            painter.text,
            tokens,
            steps=recipe.text_steps,
            batch=recipe.text_batch,
            seed=recipe.seed,
        )
        average.update_parameters(painter)
        first = 0
    else:
        painter.load_state_dict(begun["painter"])
        average.load_state_dict(begun["average"])
        optimiser.load_state_dict(begun["optimiser"])
        generator.set_state(begun["generator"])
        random.seed(recipe.seed + begun["step"])
        first = begun["step"]

    def state(step: int) -> dict[str, Any]:
        return {
            "step": step,
            "painter": painter.state_dict(),
            "average": average.state_dict(),
            "optimiser": optimiser.state_dict(),
            "generator": generator.get_state(),
        }

    signal = networks.alphas_cumprod()
    running = math.nan
    bar = trange(first, recipe.steps, initial=first, total=recipe.steps, desc="unet", unit="step")
    for step in bar:
        _set_rates(optimiser, step, recipe)
        rows, captions = _choose(data, recipe, random, generator)
        loss = _velocity_loss(painter, data.latents[rows], tokens(captions), signal, generator)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(painter.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(painter)
        value = loss.item()
        running = value if math.isnan(running) else 0.98 * running + 0.02 * value
        bar.set_postfix(loss=f"{running:.4f}", refresh=False)
        keeper.offer(partial(state, step + 1))
    keeper.write(state(recipe.steps))
    return averaged(average)


def averaged(average: AveragedModel) -> Painter:
    """The painter whose weights are the running mean."""
    painter = average.module
    assert isinstance(painter, Painter)
    return painter.eval()


def _optimiser(painter: Painter, recipe: UnetRecipe) -> torch.optim.AdamW:
    groups = [
        {"params": list(painter.unet.parameters()), "peak": recipe.learning_rate},
        {"params": list(painter.text.parameters()), "peak": recipe.text_learning_rate},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.0)


def _set_rates(optimiser: torch.optim.Optimizer, step: int, recipe: UnetRecipe) -> None:
    """A short rise, a steady stretch, then half a cosine down to 3 %."""
    done = step / recipe.steps
    factor = min(1.0, (step + 1) / 60)
    if done > recipe.steady_share:
        fall = (done - recipe.steady_share) / (1 - recipe.steady_share)
        factor *= 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * fall))
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * factor


def _choose(
    data: LatentSet, recipe: UnetRecipe, random: Random, generator: torch.Generator
) -> tuple[Tensor, list[str]]:
    rows = torch.randint(0, len(data.subjects), (recipe.batch,), generator=generator)
    captions = [
        "" if random.random() < recipe.empty_captions else caption(data.subjects[row], random)
        for row in rows.tolist()
    ]
    return rows, captions


def _velocity_loss(
    painter: Painter, clean: Tensor, tokens: Tensor, signal: Tensor, generator: torch.Generator
) -> Tensor:
    """Mean squared error of the velocity at uniform times."""
    noise = torch.randn(clean.shape, generator=generator)
    timesteps = torch.randint(0, networks.TIMESTEPS, (len(clean),), generator=generator)
    share = signal[timesteps].view(-1, 1, 1, 1)
    noisy = share.sqrt() * clean + (1 - share).sqrt() * noise
    velocity = share.sqrt() * noise - (1 - share).sqrt() * clean
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predicted = painter(noisy, timesteps, tokens)
    return functional.mse_loss(predicted, velocity)
