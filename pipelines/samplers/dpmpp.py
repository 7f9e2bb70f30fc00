"""DPM-Solver++ (https://arxiv.org/abs/2211.01095) and its stochastic kin, in log sigma."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from ..plan import SamplerSpec
from ..steps import Denoise, Sampling
from .base import Noise, ancestral

if TYPE_CHECKING:
    from torch import Tensor


def dpmpp_2m(x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec) -> Sampling:
    """DPM-Solver++(2M), https://arxiv.org/abs/2211.01095, in h = log(sigma / following)."""
    previous: Tensor | None = None
    last_h = 0.0
    for sigma, following in pairwise(sigmas):
        denoised = yield Denoise(x, sigma)
        ratio = following / sigma
        if previous is None or not following:
            target = denoised
        else:
            weight = -math.log(ratio) / (2 * last_h)  # 1 / (2r) with r = last_h / h
            target = denoised * (1 + weight) - previous * weight
        x = x * ratio + target * (1 - ratio)
        previous, last_h = denoised, -math.log(ratio) if ratio else math.inf
    return x


def dpmpp_sde(x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec) -> Sampling:
    """DPM-Solver++, stochastic: a midpoint at half the log-sigma step, noise of a Brownian path."""
    for sigma, following in pairwise(sigmas):
        denoised = yield Denoise(x, sigma)
        if not following:
            x = denoised
            continue
        middle = math.sqrt(sigma * following)
        down, up = ancestral(sigma, middle, spec.eta)
        ahead = x * (down / sigma) + denoised * (1 - down / sigma)
        ahead = ahead + noise.between(sigma, middle) * (spec.s_noise * up)
        # the midpoint's weight 1 / (2r) is 1 for r = 1/2, so the first answer drops out
        target = yield Denoise(ahead, middle)
        down, up = ancestral(sigma, following, spec.eta)
        x = x * (down / sigma) + target * (1 - down / sigma)
        x = x + noise.between(sigma, following) * (spec.s_noise * up)
    return x


def _renoised(
    x: "Tensor", sigma: float, following: float, noise: Noise, spec: SamplerSpec
) -> "Tensor":
    """Latents with the noise that a step of the stochastic solvers leaves out, at their eta."""
    if not spec.eta:
        return x
    spread = following * math.sqrt(-math.expm1(2 * spec.eta * math.log(following / sigma)))
    return x + noise.between(sigma, following) * (spread * spec.s_noise)


def _dpmpp_2m_sde(
    x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec, *, heun_like: bool
) -> Sampling:
    """DPM-Solver++(2M) with noise; the two solvers differ in the weight of the correction.

    With h the step in log sigma and e = eta h, the previous answer corrects the present one by
    their difference over r = last_h / h: half of it in the midpoint solver.
    """
    previous: Tensor | None = None
    last_h = 0.0
    for sigma, following in pairwise(sigmas):
        denoised = yield Denoise(x, sigma)
        if not following:
            x = denoised
            continue
        h = math.log(sigma / following)
        gain = -math.expm1(-h * (1 + spec.eta))
        x = x * (following / sigma * math.exp(-h * spec.eta)) + denoised * gain
        if previous is not None:
            weight = gain / (-h * (1 + spec.eta)) + 1 if heun_like else gain / 2
            x = x + (denoised - previous) * (weight * h / last_h)
        x = _renoised(x, sigma, following, noise, spec)
        previous, last_h = denoised, h
    return x


def dpmpp_2m_sde(x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec) -> Sampling:
    """SDE-DPM-Solver++(2M), the midpoint solver, https://arxiv.org/abs/2211.01095."""
    return _dpmpp_2m_sde(x, sigmas, noise, spec, heun_like=False)


def dpmpp_2m_sde_heun(
    x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec
) -> Sampling:
    """SDE-DPM-Solver++(2M), the solver of Heun's kind, https://arxiv.org/abs/2211.01095."""
    return _dpmpp_2m_sde(x, sigmas, noise, spec, heun_like=True)


def dpmpp_2s_ancestral(
    x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec
) -> Sampling:
    """DPM-Solver++(2S) steps to below the next sigma, and fresh noise up to it."""
    for sigma, following in pairwise(sigmas):
        denoised = yield Denoise(x, sigma)
        down, up = ancestral(sigma, following, spec.eta)
        if down:
            middle = math.sqrt(sigma * down)
            ahead = x * (middle / sigma) + denoised * (1 - middle / sigma)
            denoised = yield Denoise(ahead, middle)
        x = x * (down / sigma) + denoised * (1 - down / sigma)
        if up:
            x = x + noise.draw() * (spec.s_noise * up)
    return x


def dpmpp_3m_sde(x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec) -> Sampling:
    """SDE-DPM-Solver++(3M): differences of the last three answers correct the step."""
    answers: list[Tensor] = []
    steps: list[float] = []
    for sigma, following in pairwise(sigmas):
        denoised = yield Denoise(x, sigma)
        if not following:
            x = denoised
            continue
        h = math.log(sigma / following)
        decay = h * (1 + spec.eta)
        x = x * math.exp(-decay) - denoised * math.expm1(-decay)
        phi_2 = math.expm1(-decay) / decay + 1
        if len(answers) == 2:
            r0, r1 = steps[0] / h, steps[1] / h
            near, far = (denoised - answers[0]) / r0, (answers[0] - answers[1]) / r1
            first = near + (near - far) * (r0 / (r0 + r1))
            x = x + first * phi_2 - (near - far) * ((phi_2 / decay - 0.5) / (r0 + r1))
        elif answers:
            x = x + (denoised - answers[0]) * (phi_2 * h / steps[0])
        x = _renoised(x, sigma, following, noise, spec)
        answers, steps = [denoised, *answers[:1]], [h, *steps[:1]]
    return x
