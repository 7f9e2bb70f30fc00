"""Rows of many jobs through one UNet forward."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .contexts import stacked
from .steps import Row

if TYPE_CHECKING:
    from models.families.base import Checkpoint


def predict_rows(checkpoint: "Checkpoint", rows: Sequence[Row], max_rows: int) -> list[Tensor]:
    """The UNet's raw output for each row, in order.

    Rows of the same latent size and context length share forwards of at most `max_rows` latents;
    a row is never split, so one of more latents than that goes alone.
    """
    answers: list[Tensor | None] = [None] * len(rows)
    groups: dict[tuple[torch.Size, torch.Size], list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        groups[row.x.shape[1:], row.told.context.shape[1:]].append(i)
    for indices in groups.values():
        for part in _parts(indices, rows, max_rows):
            chosen = [rows[i] for i in part]
            for i, answer in zip(part, _forward(checkpoint, chosen), strict=True):
                answers[i] = answer
    return [answer for answer in answers if answer is not None]


def _parts(indices: Sequence[int], rows: Sequence[Row], max_rows: int) -> list[list[int]]:
    """`indices` cut into runs whose rows hold at most `max_rows` latents together."""
    parts: list[list[int]] = []
    held = max_rows
    for i in indices:
        count = rows[i].x.shape[0]
        if not parts or held + count > max_rows:
            parts.append([])
            held = 0
        parts[-1].append(i)
        held += count
    return parts


def _forward(checkpoint: "Checkpoint", rows: Sequence[Row]) -> tuple[Tensor, ...]:
    counts = [row.x.shape[0] for row in rows]
    timesteps = [
        row.timestep for row, count in zip(rows, counts, strict=True) for _ in range(count)
    ]
    told = stacked([row.told for row in rows])
    output = checkpoint.predict(
        torch.cat([row.x for row in rows]),
        torch.tensor(timesteps, dtype=torch.float32, device=rows[0].x.device),
        told.context,
        told.vector,
    )
    return torch.split(output, counts)
