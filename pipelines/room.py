"""How many latents a forward has memory for, learned from peaks and from failures."""

from collections.abc import Callable
from typing import TypeVar

import torch

from models.memory import is_out_of_memory, peak_of, spare

Result = TypeVar("Result")

#: of what is free, the share that forwards may plan with: fragments take some of the rest
_SHARE = 0.9
#: forwards after which a load that failed may be tried again: memory may have come free since
_FORGOTTEN_AFTER = 2000
#: forwards between two looks at how much is free, which asks the driver
_LOOK_EVERY = 32
#: a load that no forward has
_UNKNOWN = 1 << 40


class Room:
    """Learns what a model's forwards need beside its weights.

    On a GPU the peak of a forward tells, on a CPU only that one failed for want of memory.
    """

    def __init__(self, device: torch.device) -> None:
        """Nothing is known yet of forwards on `device`."""
        self._device = device
        self._largest = 0
        self._bytes_a_pixel = 0.0
        self._too_much: int | None = None
        self._since = 0
        self._spare = 0

    @property
    def load(self) -> int:
        """The largest load that fits, as far as is known."""
        loads = [_UNKNOWN if self._too_much is None else self._too_much - 1]
        if self._bytes_a_pixel:
            loads.append(int(self._spare * _SHARE / self._bytes_a_pixel))
        return min(loads)

    def most(self, pixels: int) -> int:
        """How many latents of so many pixels fit, as far as is known; at least 1."""
        return max(1, self.load // pixels)

    def measured(self, load: int, run: Callable[[], Result]) -> Result:
        """Do `run`, a forward of this load; a larger one than all before tells what it needs."""
        self._since += 1
        if self._since > _FORGOTTEN_AFTER:
            self._too_much = None
        if self._since % _LOOK_EVERY == 1:
            self._spare = spare(self._device)
        if load <= self._largest:
            return run()
        result, peak = peak_of(self._device, run)
        self._largest = load
        if peak is not None:
            self._bytes_a_pixel = max(self._bytes_a_pixel, peak / load)
        return result

    def failed(self, load: int, error: Exception) -> None:
        """A forward of this load ended with `error`."""
        if is_out_of_memory(error):
            self._too_much = min(load, self._too_much or load)
            self._since = 0
