"""A gauge of forwards that allows a fixed number of latents, and writes down what it is told."""

from collections.abc import Callable

from torch import Tensor


class AtMost:
    """At most `count` latents go together."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.loads: list[int] = []
        self.failures: list[tuple[int, str]] = []

    def most(self, pixels: int) -> int:
        assert pixels > 0
        return self.count

    def measured(self, load: int, run: Callable[[], Tensor]) -> Tensor:
        self.loads.append(load)
        return run()

    def failed(self, load: int, error: Exception) -> None:
        self.failures.append((load, type(error).__name__))
