"""A few minutes of warm-up for the text encoder, before any picture.

The encoder learns to spell out what a caption states in its padding positions, which are most of
what cross-attention sees. The UNet then finds words that already mean something; without this,
the background's colour takes most of the budget to appear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel

from ..world import sampling
from ..world.caption import Caption
from ..world.words import FACTS
from .captions import CaptionTokens
from .loop import Pace, Part, train
from .networks import VOCABULARY

UNSAID = -100
"""`cross_entropy` leaves a target of this value out: the caption does not state it."""


class FactHeads(nn.Module):
    """A linear read-out of each fact from one position of the encoder's output."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.ModuleList(nn.Linear(width, len(values)) for values in FACTS.values())

    def forward(self, hidden: Tensor) -> list[Tensor]:
        """[N, width] to the logits of each fact, [N, values]."""
        return [read(hidden) for read in self.read]


def targets(captions: Sequence[Caption]) -> Tensor:
    """The index of each fact's value, int64 [N, facts]; `UNSAID` for what is left out."""
    return torch.tensor([[_index(caption.facts, fact) for fact in FACTS] for caption in captions])


def warm_up(
    encoder: CLIPTextModel,
    tokens: CaptionTokens,
    pace: Pace,
    *,
    batch: int,
    seed: int,
    folder: Path,
) -> None:
    """Trains the encoder in place."""
    heads = FactHeads(encoder.config.hidden_size)

    def loss(_step: int, random: Random, _generator: torch.Generator) -> Tensor:
        captions = [sampling.sample(random).describe(random) for _ in range(batch)]
        rows = tokens(captions)
        longest = int((rows.ids != VOCABULARY.eos).sum(1).max())
        position = random.randrange(min(longest, VOCABULARY.length - 1), VOCABULARY.length)
        logits = heads(encoder(rows.ids).last_hidden_state[:, position])
        return fact_loss(logits, targets(captions))

    parts = (Part(parameters=[*encoder.parameters(), *heads.parameters()]),)
    train("text", parts, loss, pace, seed=seed, folder=folder)


def fact_loss(logits: Sequence[Tensor], wanted: Tensor) -> Tensor:
    """The sum of the facts' cross-entropies, a fact that no caption states counting nothing."""
    losses = [
        functional.cross_entropy(guess, wanted[:, place])
        for place, guess in enumerate(logits)
        if bool((wanted[:, place] != UNSAID).any())
    ]
    return torch.stack(losses).sum()


def _index(facts: Mapping[str, str], fact: str) -> int:
    return FACTS[fact].index(facts[fact]) if fact in facts else UNSAID
