"""Samplers of Euler's kind: they follow the slope of the probability flow in sigma."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.polynomial import Polynomial

from ..plan import SamplerSpec
from ..steps import Denoise, Sampling
from .base import Noise, ancestral, churned, slope

if TYPE_CHECKING:
    from torch import Tensor


def euler(x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec) -> Sampling:
    """Algorithm 2 of Karras et al. with first-order steps."""
    for sigma, following in pairwise(sigmas):
        x, raised = churned(x, sigma, len(sigmas) - 1, noise, spec)
        denoised = yield Denoise(x, raised)
        x = x + slope(x, raised, denoised) * (following - raised)
    return x


def euler_ancestral(
    x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec
) -> Sampling:
    """Euler steps to below the next sigma, and fresh noise up to it."""
    for sigma, following in pairwise(sigmas):
        denoised = yield Denoise(x, sigma)
        down, up = ancestral(sigma, following, spec.eta)
        x = x + slope(x, sigma, denoised) * (down - sigma)
        if up:
            x = x + noise.draw() * up
    return x


def heun(x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec) -> Sampling:
    """Algorithm 2 of Karras et al.: an Euler step corrected by the slope at its end."""
    for sigma, following in pairwise(sigmas):
        x, raised = churned(x, sigma, len(sigmas) - 1, noise, spec)
        x = yield from _heun_step(x, raised, following)
    return x


def _heun_step(x: "Tensor", sigma: float, following: float) -> Sampling:
    denoised = yield Denoise(x, sigma)
    direction = slope(x, sigma, denoised)
    ahead = x + direction * (following - sigma)
    if not following:
        return ahead
    denoised = yield Denoise(ahead, following)
    direction = (direction + slope(ahead, following, denoised)) / 2
    return x + direction * (following - sigma)


def _midpoint_step(x: "Tensor", sigma: float, following: float) -> Sampling:
    denoised = yield Denoise(x, sigma)
    direction = slope(x, sigma, denoised)
    if following:
        middle = math.sqrt(sigma * following)
        ahead = x + direction * (middle - sigma)
        denoised = yield Denoise(ahead, middle)
        direction = slope(ahead, middle, denoised)
    return x + direction * (following - sigma)


def dpm2(x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec) -> Sampling:
    """DPM-Solver-2 (https://arxiv.org/abs/2206.00927) in sigma: the slope at the log midpoint."""
    for sigma, following in pairwise(sigmas):
        x, raised = churned(x, sigma, len(sigmas) - 1, noise, spec)
        x = yield from _midpoint_step(x, raised, following)
    return x


def dpm2_ancestral(
    x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec
) -> Sampling:
    """DPM-Solver-2 steps to below the next sigma, and fresh noise up to it."""
    for sigma, following in pairwise(sigmas):
        down, up = ancestral(sigma, following, spec.eta)
        x = yield from _midpoint_step(x, sigma, down)
        if up:
            x = x + noise.draw() * (spec.s_noise * up)
    return x


def lms(x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec) -> Sampling:
    """Linear multistep of order 4: the polynomial through the last slopes, integrated."""
    slopes: list[Tensor] = []
    for i, (sigma, following) in enumerate(pairwise(sigmas)):
        denoised = yield Denoise(x, sigma)
        slopes = [slope(x, sigma, denoised), *slopes[:3]]
        known = sigmas[i - len(slopes) + 1 : i + 1][::-1]
        for j, each in enumerate(slopes):
            x = x + each * _lagrange_integral(known, j, sigma, following)
    return x


def _lagrange_integral(points: Sequence[float], j: int, start: float, end: float) -> float:
    """The integral of the polynomial that is 1 at `points[j]` and 0 at the others."""
    basis = Polynomial([1.0])
    for k, point in enumerate(points):
        if k != j:
            basis = basis * Polynomial([-point, 1.0]) / (points[j] - point)
    whole = basis.integ()
    return float(whole(end) - whole(start))


def lcm(x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec) -> Sampling:
    """Consistency sampling, https://arxiv.org/abs/2310.04378: jump to the end, noise again."""
    for sigma, following in pairwise(sigmas):
        x = yield Denoise(x, sigma)
        if following:
            x = x + noise.draw() * following
    return x


def restart(x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec) -> Sampling:
    """Heun steps that go back up to a higher sigma once or twice, https://arxiv.org/abs/2306.14878."""
    path = _restart_path(sigmas)
    reached = path[0][0]
    for sigma, following in path:
        if sigma > reached:
            x = x + noise.draw() * (spec.s_noise * math.sqrt(sigma**2 - reached**2))
        x = yield from _heun_step(x, sigma, following)
        reached = following
    return x


def _restart_path(sigmas: Sequence[float]) -> list[tuple[float, float]]:
    """The steps of Restart: from 20 on, some of them repeat the way from sigma 2 to 0.1."""
    steps = len(sigmas) - 1
    if steps < 20:
        return list(pairwise(sigmas))
    again, times = (steps // 4, 2) if steps >= 36 else (9, 1)
    sigmas = [*_karras(steps - again * times, sigmas[-2], sigmas[0]), 0.0]
    low = min(range(len(sigmas)), key=lambda i: abs(sigmas[i] - 0.1))
    high = min(range(len(sigmas)), key=lambda i: abs(sigmas[i] - 2.0))
    path = list(pairwise(sigmas))
    if high < low:
        path[low:low] = [*pairwise(_karras(again + 1, sigmas[low], sigmas[high]))] * times
    return path


def _karras(n: int, low: float, high: float, rho: float = 7.0) -> list[float]:
    ramp = np.linspace(0, 1, n)
    ends = high ** (1 / rho), low ** (1 / rho)
    return [float(sigma) for sigma in (ends[0] + ramp * (ends[1] - ends[0])) ** rho]
