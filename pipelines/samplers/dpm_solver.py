"""DPM-Solver (https://arxiv.org/abs/2206.00927) with a fixed budget and with adaptive steps.

Written in t = -log sigma and in the noise estimate e = (x - denoised) / sigma.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from ..plan import SamplerSpec
from ..steps import Denoise, Sampling
from .base import Noise, ancestral, slope

if TYPE_CHECKING:
    from torch import Tensor


def dpm_fast(x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec) -> Sampling:
    """As many model calls as there are steps, in steps of order 3 and a lower one at the end.

    Of `sigmas` only the ends count: the first, and the last before 0.
    """
    count, left = spec.steps // 3 + 1, spec.steps % 3
    orders = [3] * (count - 1) + [left] if left else [3] * (count - 2) + [2, 1]
    start, end = -math.log(sigmas[0]), -math.log(sigmas[-2])
    times = [start + (end - start) * i / count for i in range(count + 1)]
    for (t, following), order in zip(pairwise(times), orders, strict=True):
        to, up = _target(t, following, end, spec.eta)
        x = (yield from _Solver(x, t, to).step(order)) + noise.draw() * (up * spec.s_noise)
    return x


def dpm_adaptive(x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec) -> Sampling:
    """Steps of order 3 whose length keeps the difference to order 2 small.

    Of `sigmas` only the ends count: the first, and the last before 0.
    The error is that of the batch as a whole, so an image's steps depend on its company.
    """
    relative, absolute, h, safety = 0.05, 0.0078, 0.05, 0.81
    order = 1.5 if spec.eta else 3
    t, end = -math.log(sigmas[0]), -math.log(sigmas[-2])
    previous = x
    while t < end - 1e-5:
        following = min(end, t + h)
        to, up = _target(t, following, end, spec.eta)
        solver = _Solver(x, t, to)
        low = yield from solver.step(2, 1 / 3)
        high = yield from solver.step(3)
        allowed = (low.abs().maximum(previous.abs()) * relative).clamp(min=absolute)
        error = float(((low - high) / allowed).norm()) / math.sqrt(x.numel())
        factor = 1 + math.atan((1 / (error + 1e-8)) ** (1 / order) - 1)
        if factor >= safety:
            previous = low
            x = high + noise.draw() * (up * spec.s_noise)
            t = following
        h *= factor
    return x


def _target(t: float, following: float, end: float, eta: float) -> tuple[float, float]:
    """Where a deterministic step goes, and the noise that takes it back up to `following`."""
    if not eta:
        return following, 0.0
    down, _ = ancestral(math.exp(-t), math.exp(-following), eta)
    to = min(end, -math.log(down)) if down else end
    return to, math.sqrt(max(math.exp(-2 * following) - math.exp(-2 * to), 0.0))


class _Solver:
    """One step from `t` to `to`; the noise estimates at its start and inside it are kept."""

    def __init__(self, x: "Tensor", t: float, to: float) -> None:
        self._x, self._t, self._h = x, t, to - t
        self._sigma = math.exp(-to)
        self._start: Tensor | None = None
        self._inside: dict[float, Tensor] = {}

    def step(self, order: int, ratio: float = 1 / 2) -> Sampling:
        """The latents after the step; `ratio` is the place of the inner point of order 2."""
        start = yield from self._at_start()
        whole = math.expm1(self._h)
        x = self._x - start * (self._sigma * whole)
        if order == 2:
            inner = yield from self._at(ratio)
            x = x - (inner - start) * (self._sigma * whole / (2 * ratio))
        elif order == 3:
            outer = yield from self._at_second_third()
            x = x - (outer - start) * (self._sigma * 1.5 * (whole / self._h - 1))
        return x

    def _at_start(self) -> Sampling:
        if self._start is None:
            sigma = math.exp(-self._t)
            denoised = yield Denoise(self._x, sigma)
            self._start = slope(self._x, sigma, denoised)
        return self._start

    def _at(self, ratio: float) -> Sampling:
        if ratio not in self._inside:
            start = yield from self._at_start()
            sigma = math.exp(-self._t - ratio * self._h)
            ahead = self._x - start * (sigma * math.expm1(ratio * self._h))
            denoised = yield Denoise(ahead, sigma)
            self._inside[ratio] = slope(ahead, sigma, denoised)
        return self._inside[ratio]

    def _at_second_third(self) -> Sampling:
        start = yield from self._at_start()
        first = yield from self._at(1 / 3)
        ratio = 2 / 3
        sigma, grown = math.exp(-self._t - ratio * self._h), math.expm1(ratio * self._h)
        ahead = self._x - start * (sigma * grown)
        ahead = ahead - (first - start) * (sigma * 2 * (grown / (ratio * self._h) - 1))
        denoised = yield Denoise(ahead, sigma)
        return slope(ahead, sigma, denoised)
