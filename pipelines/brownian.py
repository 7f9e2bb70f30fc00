"""A Brownian path that can be asked at any point in any order, the same for the same seed.

Values are those of torchsde's `BrownianTree` (halfway splits to 6 decimals, seeds from numpy's
`SeedSequence`), which the reference samples from; unlike it, the normal numbers may come from any
source, a path keeps only what it was asked for, and the latents may live on any device.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

_DECIMALS = 6
_POOL_SIZE = 24


class BrownianPath:
    """W(t) on [start, end] with W(start) = 0, by bridges between halves."""

    def __init__(
        self, start: float, end: float, *, seed: int, randn: "Callable[[int], Tensor]"
    ) -> None:
        """A path over [start, end]; `randn(seed)` gives standard normal numbers of its shape."""
        self._randn = randn
        self._seed = seed
        self._start, self._end = round(start, _DECIMALS), round(end, _DECIMALS)
        first = np.random.SeedSequence(entropy=seed, pool_size=_POOL_SIZE).generate_state(1)[0]
        whole = randn(int(first)) * math.sqrt(end - start)
        self._points: dict[float, Tensor] = {self._start: whole * 0, self._end: whole}

    def increment(self, start: float, end: float) -> "Tensor":
        """W(end) - W(start); the points are clamped to the path's interval."""
        return self._at(end) - self._at(start)

    def _at(self, time: float) -> "Tensor":
        time = min(max(round(time, _DECIMALS), self._start), self._end)
        if time not in self._points:
            self._points[time] = self._descend(time)
        return self._points[time]

    def _descend(self, time: float) -> "Tensor":
        """Halve the interval around `time` until a half ends there."""
        start, end = self._start, self._end
        at_start, at_end = self._points[start], self._points[end]
        branch = depth = 0
        while True:
            middle = round(0.5 * (end + start), _DECIMALS)
            left, right = middle - start, end - middle
            spawned = np.random.SeedSequence(
                entropy=self._seed, spawn_key=(branch, depth), pool_size=_POOL_SIZE
            )
            noise = self._randn(int(spawned.generate_state(1)[0]))
            at_middle = at_start + (at_end - at_start) * (left / (end - start))
            at_middle = at_middle + noise * math.sqrt(left * right / (end - start))
            if time == middle:
                return at_middle
            depth += 1
            if time < middle:
                end, at_end, branch = middle, at_middle, 2 * branch
            else:
                start, at_start, branch = middle, at_middle, 2 * branch + 1
