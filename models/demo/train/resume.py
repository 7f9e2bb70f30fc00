"""Saving a run every few minutes, so that it can be taken up where it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


class Keeper:
    """Writes the state to one file when enough time has passed since the last writing."""

    def __init__(self, path: Path, *, every_seconds: float) -> None:
        self.path = path
        self._every_seconds = every_seconds
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The state written last, or None on a fresh run."""
        if not self.path.is_file():
            return None
        state: dict[str, Any] = torch.load(self.path, weights_only=True)
        return state

    def offer(self, state: Callable[[], dict[str, Any]]) -> None:
        """Writes `state()` if it is time."""
        if time.monotonic() - self._last >= self._every_seconds:
            self.write(state())

    def write(self, state: dict[str, Any]) -> None:
        """Writes the state whole or not at all."""
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.path)
        self._last = time.monotonic()
