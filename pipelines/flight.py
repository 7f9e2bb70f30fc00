"""Forwards on their way: how far the host may be ahead of the device, and how long each took."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch

Result = TypeVar("Result")

#: Forwards that a GPU is given before the one at work is done, so that it never waits for the
#: host; no more, since an interrupt and a preview come after all that was given.
_AHEAD = 2


class Flight(Protocol):
    """Forwards that were asked of a device."""

    def run(self, load: int, forward: Callable[[], Result]) -> Result:
        """Ask for a forward of this load."""

    def landed(self) -> list[tuple[int, float]]:
        """Load and seconds of those that are done; waits while too many are under way."""


class HostFlight:
    """On a CPU a forward is done when it returns."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """`clock` counts seconds."""
        self._clock = clock
        self._landed: list[tuple[int, float]] = []

    def run(self, load: int, forward: Callable[[], Result]) -> Result:
        """Do a forward of this load."""
        start = self._clock()
        result = forward()
        self._landed.append((load, self._clock() - start))
        return result

    def landed(self) -> list[tuple[int, float]]:
        """Load and seconds of those since the last call."""
        landed, self._landed = self._landed, []
        return landed


@dataclass(frozen=True, slots=True)
class _Flying:
    load: int
    start: torch.cuda.Event
    end: torch.cuda.Event

    def is_over(self) -> bool:
        return bool(self.end.query())  # type: ignore[no-untyped-call]


class CudaFlight:
    """On a GPU events tell when a forward began and ended."""

    def __init__(self) -> None:
        """Nothing is under way."""
        self._flying: deque[_Flying] = deque()

    def run(self, load: int, forward: Callable[[], Result]) -> Result:
        """Queue a forward of this load behind those before it."""
        start, end = _event(), _event()
        start.record()
        result = forward()
        end.record()
        self._flying.append(_Flying(load, start, end))
        return result

    def landed(self) -> list[tuple[int, float]]:
        """Load and seconds of those that are done; waits until no more than `_AHEAD` are not."""
        landed: list[tuple[int, float]] = []
        while self._flying and (len(self._flying) > _AHEAD or self._flying[0].is_over()):
            first = self._flying.popleft()
            first.end.synchronize()
            landed.append((first.load, first.start.elapsed_time(first.end) / 1000))
        return landed


def _event() -> torch.cuda.Event:
    # `blocking`: whoever waits for it sleeps, where it would keep a core busy
    return torch.cuda.Event(enable_timing=True, blocking=True)  # type: ignore[no-untyped-call]


def flight(device: torch.device) -> Flight:
    """What fits the device."""
    return CudaFlight() if device.type == "cuda" else HostFlight()
