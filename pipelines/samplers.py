"""Samplers: each a generator that yields `Denoise` and returns the final latents.

They are written in k-diffusion's terms (Karras et al., https://arxiv.org/abs/2206.00364): `x` is
the noised latents, `sigma` the standard deviation of their noise, `denoised` the model's answer.
Sigmas are plain floats, so no step waits for the device; tensors only meet `+ - * /`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from .plan import BadPlan, SamplerSpec
from .steps import Denoise, Sampling

if TYPE_CHECKING:
    from torch import Tensor


class Noise(Protocol):
    """Where a sampler's randomness comes from: one generator an image, stacked to a batch."""

    def draw(self) -> "Tensor":
        """The next standard normal numbers [N,C,h,w]."""

    def between(self, sigma: float, following: float) -> "Tensor":
        """The Brownian increment from `sigma` to `following`, scaled to unit variance."""


SamplerFunction = Callable[["Tensor", Sequence[float], Noise, SamplerSpec], Sampling]


def _slope(x: "Tensor", sigma: float, denoised: "Tensor") -> "Tensor":
    return (x - denoised) / sigma


def _ancestral(sigma: float, following: float, eta: float) -> tuple[float, float]:
    """The sigma to step down to, and the noise to add again, to arrive at `following`."""
    if not eta or not following:
        return following, 0.0
    up = min(
        following,
        eta * math.sqrt(following**2 * max(sigma**2 - following**2, 0.0) / sigma**2),
    )
    return math.sqrt(max(following**2 - up**2, 0.0)), up


def euler(x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec) -> Sampling:
    """Algorithm 2 of Karras et al. with first-order steps."""
    churn = min(spec.s_churn / (len(sigmas) - 1), math.sqrt(2) - 1)
    for sigma, following in pairwise(sigmas):
        raised = sigma
        if churn > 0 and spec.s_tmin <= sigma <= spec.s_tmax:
            raised = sigma * (1 + churn)
            x = x + noise.draw() * (spec.s_noise * math.sqrt(raised**2 - sigma**2))
        denoised = yield Denoise(x, raised)
        x = x + _slope(x, raised, denoised) * (following - raised)
    return x


def euler_ancestral(
    x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec
) -> Sampling:
    """Euler steps to below the next sigma, and fresh noise up to it."""
    for sigma, following in pairwise(sigmas):
        denoised = yield Denoise(x, sigma)
        down, up = _ancestral(sigma, following, spec.eta)
        x = x + _slope(x, sigma, denoised) * (down - sigma)
        if up:
            x = x + noise.draw() * up
    return x


def heun(x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec) -> Sampling:
    """Algorithm 2 of Karras et al.: an Euler step corrected by the slope at its end."""
    churn = min(spec.s_churn / (len(sigmas) - 1), math.sqrt(2) - 1)
    for sigma, following in pairwise(sigmas):
        raised = sigma
        if churn > 0 and spec.s_tmin <= sigma <= spec.s_tmax:
            raised = sigma * (1 + churn)
            x = x + noise.draw() * (spec.s_noise * math.sqrt(raised**2 - sigma**2))
        denoised = yield Denoise(x, raised)
        slope = _slope(x, raised, denoised)
        ahead = x + slope * (following - raised)
        if following:
            denoised = yield Denoise(ahead, following)
            slope = (slope + _slope(ahead, following, denoised)) / 2
            ahead = x + slope * (following - raised)
        x = ahead
    return x


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
        down, up = _ancestral(sigma, middle, spec.eta)
        ahead = x * (down / sigma) + denoised * (1 - down / sigma)
        ahead = ahead + noise.between(sigma, middle) * (spec.s_noise * up)
        # the midpoint's weight 1 / (2r) is 1 for r = 1/2, so the first answer drops out
        target = yield Denoise(ahead, middle)
        down, up = _ancestral(sigma, following, spec.eta)
        x = x * (down / sigma) + target * (1 - down / sigma)
        x = x + noise.between(sigma, following) * (spec.s_noise * up)
    return x


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
        if spec.eta:
            spread = following * math.sqrt(-math.expm1(-2 * h * spec.eta))
            x = x + noise.between(sigma, following) * (spread * spec.s_noise)
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


def ddim(x: "Tensor", sigmas: Sequence[float], noise: Noise, spec: SamplerSpec) -> Sampling:
    """DDIM, https://arxiv.org/abs/2010.02502.

    With x divided by sqrt(alpha_bar) its update is an ancestral Euler step; only the end differs:
    the result is the variance-preserving latents at the first time step, not at sigma 0.
    """
    x = yield from euler_ancestral(x, sigmas, noise, spec)
    return x / math.sqrt(1 + sigmas[-1] ** 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """A row of the table: the name and traits by which clients know a sampler.

    `on_timesteps`: runs on evenly spaced integer time steps of the model instead of a schedule.
    `takes`: which numbers of a `SamplerSpec` it uses.
    """

    name: str
    aliases: tuple[str, ...]
    function: SamplerFunction
    default_schedule: str | None = None
    solver: str | None = None
    second_order: bool = False
    brownian: bool = False
    uses_ensd: bool = False
    discards_penultimate: bool = False
    on_timesteps: bool = False
    takes: frozenset[str] = frozenset()

    @property
    def options(self) -> Mapping[str, str | bool]:
        """The traits in the wire's words."""
        traits: dict[str, str | bool] = {}
        if self.default_schedule:
            traits["scheduler"] = self.default_schedule
        if self.uses_ensd:
            traits["uses_ensd"] = True
        if self.discards_penultimate:
            traits["discard_next_to_last_sigma"] = True
        if self.second_order:
            traits["second_order"] = True
        if self.brownian:
            traits["brownian_noise"] = True
        if self.solver:
            traits["solver_type"] = self.solver
        return MappingProxyType(traits)


_CHURN = frozenset({"s_churn", "s_tmin", "s_tmax", "s_noise"})

SAMPLERS: tuple[Sampler, ...] = (
    Sampler(
        name="DPM++ 2M",
        aliases=("k_dpmpp_2m",),
        function=dpmpp_2m,
        default_schedule="karras",
    ),
    Sampler(
        name="DPM++ SDE",
        aliases=("k_dpmpp_sde",),
        function=dpmpp_sde,
        default_schedule="karras",
        second_order=True,
        brownian=True,
        takes=frozenset({"eta", "s_noise"}),
    ),
    Sampler(
        name="DPM++ 2M SDE",
        aliases=("k_dpmpp_2m_sde",),
        function=dpmpp_2m_sde,
        default_schedule="exponential",
        brownian=True,
        takes=frozenset({"eta", "s_noise"}),
    ),
    Sampler(
        name="DPM++ 2M SDE Heun",
        aliases=("k_dpmpp_2m_sde_heun",),
        function=dpmpp_2m_sde_heun,
        default_schedule="exponential",
        solver="heun",
        brownian=True,
        takes=frozenset({"eta", "s_noise"}),
    ),
    Sampler(
        name="Euler a",
        aliases=("k_euler_a", "k_euler_ancestral"),
        function=euler_ancestral,
        uses_ensd=True,
        takes=frozenset({"eta"}),
    ),
    Sampler(name="Euler", aliases=("k_euler",), function=euler, takes=_CHURN),
    Sampler(name="Heun", aliases=("k_heun",), function=heun, second_order=True, takes=_CHURN),
    Sampler(
        name="DDIM",
        aliases=("ddim",),
        function=ddim,
        on_timesteps=True,
        takes=frozenset({"eta"}),
    ),
)


def find_sampler(name: str) -> Sampler:
    """The row called exactly `name`. Raises `BadPlan` naming the samplers there are."""
    for sampler in SAMPLERS:
        if sampler.name == name:
            return sampler
    raise BadPlan(f"unknown sampler {name!r}; allowed: {', '.join(s.name for s in SAMPLERS)}")
