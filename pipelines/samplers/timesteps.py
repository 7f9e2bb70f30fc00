"""Samplers that run on integer time steps of the model instead of a schedule.

In variance-preserving latents they are usually written with alphas; here x is divided by
sqrt(alpha_bar), so that they speak of sigmas as the others do. Only the end differs: the result is
the variance-preserving latents at the first time step, not at sigma 0.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ..plan import SamplerSpec
from ..steps import Denoise, DenoiseApart, Sampling
from .base import Noise, ancestral, slope
from .euler import euler_ancestral

if TYPE_CHECKING:
    from torch import Tensor

#: DDIM CFG++ takes guidance on a scale of its own
_CFGPP_SCALE = 1 / 12.5


def _variance_preserving(x: "Tensor", sigma: float) -> "Tensor":
    return x / math.sqrt(1 + sigma**2)


def ddim(x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec) -> Sampling:
    """DDIM, https://arxiv.org/abs/2010.02502: in these terms an ancestral Euler step."""
    x = yield from euler_ancestral(x, sigmas, noise, spec)
    return _variance_preserving(x, sigmas[-1])


def ddim_cfgpp(x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec) -> Sampling:
    """DDIM with CFG++, https://arxiv.org/abs/2406.08070: noise goes back in unguided."""
    for sigma, following in pairwise(sigmas):
        denoised, uncond = yield DenoiseApart(x, sigma, _CFGPP_SCALE)
        down, up = ancestral(sigma, following, spec.eta)
        x = denoised + slope(x, sigma, uncond) * down
        if up:
            x = x + noise.draw() * up
    return _variance_preserving(x, sigmas[-1])


#: Adams-Bashforth weights of the newest and the older slopes, by how many older ones there are
_ADAMS_BASHFORTH = (
    (),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


def plms(x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec) -> Sampling:
    """Pseudo linear multistep, https://arxiv.org/abs/2202.09778; a Heun step begins."""
    slopes: list[Tensor] = []
    for sigma, following in pairwise(sigmas):
        denoised = yield Denoise(x, sigma)
        direction = slope(x, sigma, denoised)
        slopes = [direction, *slopes[:3]]
        if len(slopes) == 1:
            ahead = x + direction * (following - sigma)
            denoised = yield Denoise(ahead, following)
            x = x + (direction + slope(ahead, following, denoised)) * ((following - sigma) / 2)
            continue
        for each, weight in zip(slopes, _ADAMS_BASHFORTH[len(slopes) - 1], strict=True):
            x = x + each * (weight * (following - sigma))
    return _variance_preserving(x, sigmas[-1])


def unipc(x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec) -> Sampling:
    """UniPC, https://arxiv.org/abs/2302.04867: multistep predictor and corrector on the data."""
    order = spec.unipc_order
    steps = len(sigmas) - 1
    known = [(sigmas[0], (yield Denoise(x, sigmas[0])))]
    for i in range(1, steps + 1):
        wanted = min(order, steps + 1 - i) if spec.unipc_lower_order_final else order
        update = _UnipcStep(x, sigmas[i], known[: min(wanted, i)], bh2=spec.unipc_bh2)
        x = update.predicted()
        if i < steps:
            denoised = yield Denoise(x, sigmas[i])
            x = update.corrected(denoised)
            known = [(sigmas[i], denoised), *known[: order - 1]]
    return _variance_preserving(x, sigmas[-1])


class _UnipcStep:
    """One step to `sigma` from the newest of `known`, pairs of a sigma and the answer there."""

    def __init__(
        self, x: "Tensor", sigma: float, known: "Sequence[tuple[float, Tensor]]", *, bh2: bool
    ) -> None:
        (newest, self._answer), *older = known
        h = math.log(newest / sigma)
        ratios = [math.log(newest / each) / h for each, _ in older]
        self._differences = [
            (answer - self._answer) / ratio
            for ratio, (_, answer) in zip(ratios, older, strict=True)
        ]
        decay = math.expm1(-h)
        self._gain = decay if bh2 else -h
        self._base = x * (sigma / newest) - self._answer * decay
        order = len(known)
        self._matrix = np.vander([*ratios, 1.0], order, increasing=True).T
        phi, factorial = decay / -h - 1, 1
        targets: list[float] = []
        for k in range(2, order + 2):
            targets.append(phi * factorial / self._gain)
            factorial *= k
            phi = phi / -h - 1 / factorial
        self._targets = np.array(targets)

    def predicted(self) -> "Tensor":
        """The latents at the new sigma, from what is known."""
        count = len(self._differences)
        if count == 1:
            return self._mixed([0.5])
        return self._mixed(np.linalg.solve(self._matrix[:count, :count], self._targets[:count]))

    def corrected(self, denoised: "Tensor") -> "Tensor":
        """The latents again, now that the answer at the new sigma is known."""
        if not self._differences:
            weights = np.array([0.5])
        else:
            weights = np.linalg.solve(self._matrix, self._targets)
        mixed = self._mixed(weights[:-1])
        return mixed - (denoised - self._answer) * (self._gain * float(weights[-1]))

    def _mixed(
        self, weights: "Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]]"
    ) -> "Tensor":
        x = self._base
        for weight, difference in zip(weights, self._differences, strict=True):
            x = x - difference * (self._gain * float(weight))
        return x
