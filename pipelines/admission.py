"""Who is let in beside those that run: by what memory holds, and by what is worth while."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .flight import Flight, flight
from .pace import Pace
from .room import Room

#: models whose forwards are remembered
_MODELS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the server was told of how much it does at once.

    A forward takes at most `max_rows` latents. Without `batching` jobs run one after another. One
    that has waited for `patience` seconds is let in though it makes all slower. A job may be passed
    by those for the model in use as long as `switches` changes of the model take, and so long that
    model stays.
    """

    max_rows: int = 64
    batching: bool = True
    patience: float = 20.0
    switches: float = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a job asks of a forward: so many rows of latents, of so many pixels each."""

    rows: int
    pixels: int

    @property
    def load(self) -> int:
        """Pixels of all its latents."""
        return self.rows * self.pixels


NOTHING = Demand(rows=0, pixels=1)
"""Of a job that predicts nothing."""


class Pacing(Protocol):
    """Learns which loads are worth while (`Pace`)."""

    def note(self, load: int, seconds: float) -> None:
        """A forward of `load` took so long."""

    def is_worth(self, load: int, least: int) -> bool:
        """Whether forwards of `load` do more in a second than smaller ones."""


class Admission:
    """What is known of each model's forwards, and what follows from it; the device thread's own."""

    def __init__(self, limits: Limits | None = None, pace: Callable[[], Pacing] = Pace) -> None:
        """Nothing is known yet; `pace` is made once a model."""
        self.limits = limits or Limits()
        self._make_pace = pace
        self._known: OrderedDict[Hashable, tuple[Pacing, Room]] = OrderedDict()
        self._flight: Flight | None = None
        self._pace: Pacing = pace()
        self._room = Room(torch.device("cpu"))

    def use(self, model: Hashable, device: torch.device) -> None:
        """The forwards that follow are of `model`."""
        known = self._known.pop(model, None) or (self._make_pace(), Room(device))
        self._known[model] = known
        self._pace, self._room = known
        if len(self._known) > _MODELS:
            self._known.popitem(last=False)
        self._flight = self._flight or flight(device)

    def lets_in(self, wanted: Demand, running: Sequence[Demand], waited: float) -> bool:
        """Whether a job that has waited so many seconds runs beside those `running`."""
        limits = self.limits
        rows = sum(each.rows for each in (wanted, *running))
        load = sum(each.load for each in (wanted, *running))
        if not limits.batching or rows > limits.max_rows or load > self._room.load:
            return False
        return waited >= limits.patience or self._pace.is_worth(load, wanted.load)

    def most(self, pixels: int) -> int:
        """How many latents of so many pixels may go through one forward, at least 1."""
        return min(self.limits.max_rows, self._room.most(pixels))

    def measured(self, load: int, run: Callable[[], Tensor]) -> Tensor:
        """Do `run`, a forward of this load, and learn from it; raises what it raises."""
        assert self._flight is not None, "a forward came before the model it runs on"
        return self._flight.run(load, lambda: self._room.measured(load, run))

    def failed(self, load: int, error: Exception) -> None:
        """A forward of this load ended with `error`."""
        self._room.failed(load, error)

    def settle(self) -> None:
        """Learn from the forwards that are done; waits while the device is too far behind."""
        if self._flight is not None:
            for load, seconds in self._flight.landed():
                self._pace.note(load, seconds)
