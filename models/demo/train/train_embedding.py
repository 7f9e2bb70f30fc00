"""A textual inversion (https://arxiv.org/abs/2208.01618): a word for a colour the demo lacks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn

from .. import EMBEDDING
from ..world.caption import Caption, near, on_ground
from ..world.outlines import Point
from ..world.single import Single, Subject
from ..world.words import COLOURS, SHAPES, TEAL
from .captions import CaptionTokens
from .dataset import latents_of
from .latents import Normalisation
from .loop import Pace, Part, train
from .train_unet import Painter, velocity_loss

VECTORS = 2

_PLACEHOLDER = "*"
_GROUNDS = ("red", "yellow", "orange", "purple", "pink", "white", "black")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRecipe:
    """What the embedding depends on."""

    seed: int = 50
    batch: int = 16
    first_word: str = "green"
    pace: Pace = field(default_factory=lambda: Pace(steps=300, rate=1e-2, ema=0.95))


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
        rows = tokens([_caption(scene.subject, random) for scene in scenes])
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
    ground = random.choice(_GROUNDS)
    return Single(
        subject=Subject(shape=random.choice(SHAPES), foreground=EMBEDDING.stem, background=ground),
        centre=centre,
        radius=random.uniform(0.23, 0.3),
        turn=random.uniform(-0.1, 0.1),
        foreground=near(TEAL, random, 5),
        background=near(COLOURS[ground], random, 5),
    )


def _caption(subject: Subject, random: Random) -> Caption:
    word = " ".join([_PLACEHOLDER] * VECTORS)
    return Caption.plain(on_ground(f"a {word} {subject.shape}", subject.background, random))
