"""How long the start took, stage by stage."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StartupProfile:
    """Stages in the order in which they ended, in seconds; written by one thread at a time."""

    def __init__(self) -> None:
        """Begin to count now."""
        self._begun = time.perf_counter()
        self._total = 0.0
        self._stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the block, also where it fails."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            ended = time.perf_counter()
            self._stages[name] = ended - begun
            self._total = ended - self._begun

    @property
    def total(self) -> float:
        """Seconds from the beginning to the end of the last stage."""
        return self._total

    @property
    def stages(self) -> dict[str, float]:
        """Seconds by stage, those that have ended."""
        return dict(self._stages)
