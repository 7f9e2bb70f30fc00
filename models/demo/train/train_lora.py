"""A LoRA that turns what the demo draws into polaroids, in kohya's layout.

Low-rank changes (https://arxiv.org/abs/2106.09685) of every convolution and matrix of the UNet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..world import sampling
from ..world.polaroid import Polaroid
from .captions import CaptionTokens
from .dataset import latents_of
from .latents import Normalisation
from .loop import Pace, Part, train
from .train_unet import Painter, described, velocity_loss


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraRecipe:
    """What the LoRA depends on."""

    seed: int = 40
    rank: int = 4
    batch: int = 16
    pace: Pace = field(default_factory=lambda: Pace(steps=600, rate=6e-3, ema=0.98))


class LowRank(nn.Module):
    """A weight plus the product of two narrow matrices, the second of which starts at zero."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        self.down = nn.Parameter(torch.randn(rank, columns) / columns**0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """The changed weight, of the same shape."""
        return weight + (self.up @ self.down).view_as(weight)


def train_lora(
    painter: Painter,
    normalisation: Normalisation,
    tokens: CaptionTokens,
    recipe: LoraRecipe,
    folder: Path,
) -> dict[str, Tensor]:
    """The network's tensors; the painter is given back as it was, but for `requires_grad`."""
    torch.manual_seed(recipe.seed)
    painter.requires_grad_(False)
    layers = dict(_layers(painter.unet))
    changes = {name: LowRank(layer.weight, recipe.rank) for name, layer in layers.items()}
    for name, layer in layers.items():
        parametrize.register_parametrization(layer, "weight", changes[name])

    def loss(_step: int, random: Random, generator: torch.Generator) -> Tensor:
        scenes = [Polaroid(inner=sampling.sample(random)) for _ in range(recipe.batch)]
        clean, rows = latents_of(scenes, normalisation), tokens(described(scenes, random))
        return velocity_loss(painter, clean, rows, generator)

    parts = (Part(parameters=[p for change in changes.values() for p in change.parameters()]),)
    train("lora", parts, loss, recipe.pace, seed=recipe.seed, folder=folder)
    for layer in layers.values():
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    return _kohya(layers, changes, recipe.rank)


def _layers(unet: UNet2DConditionModel) -> Iterator[tuple[str, nn.Linear | nn.Conv2d]]:
    for name, module in unet.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            yield name, module


def _kohya(
    layers: dict[str, nn.Linear | nn.Conv2d], changes: dict[str, LowRank], rank: int
) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, change in changes.items():
        weight = layers[name].weight
        key = f"lora_unet_{name.replace('.', '_')}"
        tail = (1, 1) if weight.ndim == 4 else ()
        tensors[f"{key}.lora_down.weight"] = change.down.view(rank, *weight.shape[1:])
        tensors[f"{key}.lora_up.weight"] = change.up.view(*change.up.shape, *tail)
        tensors[f"{key}.alpha"] = torch.tensor(float(rank))
    return {name: value.detach().half().contiguous() for name, value in tensors.items()}
