"""Rows of many jobs through one UNet forward."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from models.memory import is_out_of_memory

from .apart import answered, whole
from .contexts import stacked
from .steps import Conditioning, Row

if TYPE_CHECKING:
    from models.families.base import Checkpoint


class Gauge(Protocol):
    """What a forward is measured by, and how large it may be; a load is its latents' pixels."""

    def most(self, pixels: int) -> int:
        """How many latents of so many pixels may go through one forward, at least 1."""

    def measured(self, load: int, run: Callable[[], Tensor]) -> Tensor:
        """Do `run`, a forward of this load, and learn from it; raises what it raises."""

    def failed(self, load: int, error: Exception) -> None:
        """A forward of this load ended with `error`."""


@dataclass(frozen=True, slots=True, eq=False)
class _Latent:
    """One of the latents of a row, at a time step."""

    row: Row
    index: int

    @property
    def x(self) -> Tensor:
        return self.row.x[self.index : self.index + 1]

    @property
    def told(self) -> Conditioning:
        told, here = self.row.told, slice(self.index, self.index + 1)
        return Conditioning(told.context[here], None if told.vector is None else told.vector[here])


def predict_rows(
    checkpoint: "Checkpoint", rows: Sequence[Row], gauge: Gauge
) -> list[Tensor | Exception]:
    """The UNet's raw output for each row, in order, or what kept it from one.

    Latents of the same size and context length share forwards, as many as the gauge allows. One
    that fails is made again by halves: what is too much for the memory goes in parts, and what is
    wrong with a row is that row's error alone.
    """
    found: dict[_Latent, Tensor | Exception] = {}
    latents = [[_Latent(row, index) for index in range(row.x.shape[0])] for row in rows]
    for group in _groups(each for row in latents for each in row):
        most = gauge.most(_pixels(group[0]))
        for start in range(0, len(group), most):
            part = group[start : start + most]
            answers = answered(
                partial(_forward, checkpoint, gauge), part, checkpoint.device, partial(_told, gauge)
            )
            found.update(zip(part, answers, strict=True))
    return [_joined([found[each] for each in row]) for row in latents]


def _groups(latents: "Iterator[_Latent]") -> "list[list[_Latent]]":
    """Those that can share a forward."""
    groups: dict[tuple[torch.Size, torch.Size], list[_Latent]] = defaultdict(list)
    for each in latents:
        groups[each.row.x.shape[1:], each.row.told.context.shape[1:]].append(each)
    return list(groups.values())


def _pixels(latent: _Latent) -> int:
    return int(latent.row.x.shape[-2] * latent.row.x.shape[-1])


def _forward(
    checkpoint: "Checkpoint", gauge: Gauge, latents: Sequence[_Latent]
) -> Sequence[Tensor]:
    """One forward of the UNet; an answer [1,C,h,w] a latent."""
    timesteps = torch.tensor([each.row.timestep for each in latents], dtype=torch.float32)
    told = stacked([each.told for each in latents])
    x = torch.cat([each.x for each in latents])

    def run() -> Tensor:
        try:
            return checkpoint.predict(x, timesteps, told.context, told.vector)
        except RuntimeError as error:
            # graphs hold memory that a forward without them can have
            if not is_out_of_memory(error) or not checkpoint.lighten():
                raise
        return checkpoint.predict(x, timesteps, told.context, told.vector)

    return torch.split(gauge.measured(_load(latents), run), 1)


def _load(latents: Sequence[_Latent]) -> int:
    return len(latents) * _pixels(latents[0])


def _told(gauge: Gauge, latents: Sequence[_Latent], error: Exception) -> None:
    gauge.failed(_load(latents), error)


def _joined(answers: Sequence[Tensor | Exception]) -> Tensor | Exception:
    """The answers of a row's latents as one; the first error where there is any."""
    found = whole(answers)
    return found if isinstance(found, Exception) else torch.cat(found)
