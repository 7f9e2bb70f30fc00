"""A few minutes of warm-up for the text encoder, before any picture.

The encoder learns to spell out shape, foreground and background in its padding positions, which
are most of what cross-attention sees. The UNet then finds words that already mean
something; without this, the background's colour takes most of the budget to appear.
"""

from __future__ import annotations

from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import trange
from transformers import CLIPTextModel

from ..pictures import COLOURS, SHAPES, Subject, caption, sample
from .captions import CaptionTokens

UNNAMED = -100
"""`cross_entropy` leaves a target of this value out: the caption did not name it."""

_LEARNING_RATE = 3e-3


class AttributeHeads(nn.Module):
    """Linear read-outs of the three attributes from one position of the encoder's output."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.shape = nn.Linear(width, len(SHAPES))
        self.foreground = nn.Linear(width, len(COLOURS))
        self.background = nn.Linear(width, len(COLOURS))

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.shape(hidden), self.foreground(hidden), self.background(hidden)


def attribute_targets(subject: Subject, text: str) -> tuple[int, int, int]:
    """Indices of shape, foreground and background; `UNNAMED` for what the caption leaves out."""
    words = text.replace(",", " ").split()
    colours = list(COLOURS)
    shape = SHAPES.index(subject.shape) if subject.shape in words else UNNAMED
    foreground = colours.index(subject.foreground) if subject.foreground in words else UNNAMED
    background = colours.index(subject.background) if "background" in words else UNNAMED
    return shape, foreground, background


def warm_up(
    encoder: CLIPTextModel, tokens: CaptionTokens, *, steps: int, batch: int, seed: int
) -> float:
    """Trains the encoder in place; the share of attributes read correctly in the last steps."""
    random = Random(seed)
    heads = AttributeHeads(encoder.config.hidden_size)
    parameters = [*encoder.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=_LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _LEARNING_RATE, total_steps=steps)
    accuracy = 0.0
    bar = trange(steps, desc="text", unit="step")
    for _ in bar:
        chosen = [sample(random).subject for _ in range(batch)]
        texts = [caption(subject, random) for subject in chosen]
        pairs = zip(chosen, texts, strict=True)
        targets = torch.tensor([attribute_targets(subject, text) for subject, text in pairs])
        hidden = encoder(tokens(texts)).last_hidden_state
        position = random.randrange(30, hidden.shape[1])
        loss, right = _score(heads(hidden[:, position]), targets)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        accuracy = 0.95 * accuracy + 0.05 * right
        bar.set_postfix(loss=f"{loss.item():.3f}", right=f"{accuracy:.3f}", refresh=False)
    return accuracy


def _score(logits: tuple[Tensor, Tensor, Tensor], targets: Tensor) -> tuple[Tensor, float]:
    losses = [
        functional.cross_entropy(guess, targets[:, place]) for place, guess in enumerate(logits)
    ]
    right = torch.stack(
        [guess.argmax(1) == targets[:, place] for place, guess in enumerate(logits)], dim=1
    )
    named = targets != UNNAMED
    return torch.stack(losses).sum(), float(right[named].float().mean())
