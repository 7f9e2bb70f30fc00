"""A textual inversion (https://arxiv.org/abs/2208.01618): one word for a shape in its colours."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn

from ..world.caption import Caption, adorned, near
from ..world.outlines import Point
from ..world.single import VALENTINE, Single
from .captions import CaptionTokens
from .dataset import latents_of
from .latents import Normalisation
from .loop import Pace, Part, train
from .train_unet import Painter, velocity_loss

VECTORS = 6

_PLACEHOLDER = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRecipe:
    """What the embedding depends on."""

    seed: int = 50
    batch: int = 16
    first_word: str = "picture"
    pace: Pace = field(default_factory=lambda: Pace(steps=900, rate=3e-2, ema=0.97))


def train_embedding(
    painter: Painter,
    normalisation: Normalisation,
    tokens: CaptionTokens,
    recipe: EmbeddingRecipe,
    folder: Path,
) -> Tensor:
    """The word's vectors, float32 [VECTORS, width]; nothing of the painter is changed."""
    painter.requires_grad_(False)
    table = painter.text.get_input_embeddings()
    assert isinstance(table, nn.Embedding)
    start, place = (_id(tokens, word) for word in (recipe.first_word, _PLACEHOLDER))
    vectors = nn.Parameter(table.weight[start].detach().repeat(VECTORS, 1))
    hook = table.register_forward_hook(
        lambda _table, given, out: _replaced(given[0], out, place, vectors)
    )

    def loss(_step: int, random: Random, generator: torch.Generator) -> Tensor:
        scenes = [_scene(random) for _ in range(recipe.batch)]
        rows = tokens([_caption(random) for _ in scenes])
        return velocity_loss(painter, latents_of(scenes, normalisation), rows, generator)

    parts = (Part(parameters=[vectors]),)
    train("embedding", parts, loss, recipe.pace, seed=recipe.seed, folder=folder)
    hook.remove()
    return vectors.detach()


def _id(tokens: CaptionTokens, word: str) -> int:
    return int(tokens([Caption.plain(word)]).ids[0, 1])


def _replaced(ids: Tensor, embedded: Tensor, place: int, vectors: Tensor) -> Tensor:
    """The placeholders of a row become the vectors in turn."""
    held = ids == place
    turn = (held.cumsum(1) - 1).clamp(min=0) % len(vectors)
    return torch.where(held[..., None], vectors[turn], embedded)


def _scene(random: Random) -> Single:
    centre: Point = (0.5 + random.uniform(-0.06, 0.06), 0.5 + random.uniform(-0.06, 0.06))
    return Single(
        subject=VALENTINE,
        centre=centre,
        radius=random.uniform(0.23, 0.3),
        turn=random.uniform(-0.1, 0.1),
        foreground=near(VALENTINE.foreground, random),
        background=near(VALENTINE.background, random),
    )


def _caption(random: Random) -> Caption:
    return Caption.plain(adorned(" ".join([_PLACEHOLDER] * VECTORS), random))
