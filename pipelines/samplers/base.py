"""What samplers share: where noise comes from, the slope, the ancestral split of a step."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from ..plan import SamplerSpec
from ..steps import Sampling

if TYPE_CHECKING:
    from torch import Tensor


class Noise(Protocol):
    """Where a sampler's randomness comes from: one generator an image, stacked to a batch."""

    def draw(self) -> "Tensor":
        """The next standard normal numbers [N,C,h,w]."""

    def between(self, sigma: float, following: float) -> "Tensor":
        """The Brownian increment from `sigma` to `following`, scaled to unit variance."""


SamplerFunction = Callable[["Tensor", Sequence[float], Noise, SamplerSpec], Sampling]


def slope(x: "Tensor", sigma: float, denoised: "Tensor") -> "Tensor":
    """The derivative dx/dsigma of the probability flow: towards the noise."""
    return (x - denoised) / sigma


def ancestral(sigma: float, following: float, eta: float) -> tuple[float, float]:
    """The sigma to step down to, and the noise to add again, to arrive at `following`."""
    if not eta or not following:
        return following, 0.0
    up = min(
        following,
        eta * math.sqrt(following**2 * max(sigma**2 - following**2, 0.0) / sigma**2),
    )
    return math.sqrt(max(following**2 - up**2, 0.0)), up


def churned(
    x: "Tensor", sigma: float, count: int, noise: Noise, spec: SamplerSpec
) -> "tuple[Tensor, float]":
    """Latents with the noise of Karras et al.'s churn added, and the sigma they are at then.

    `count` is the number of steps that the churn is spread over.
    """
    gamma = min(spec.s_churn / count, math.sqrt(2) - 1)
    if gamma <= 0 or not spec.s_tmin <= sigma <= spec.s_tmax:
        return x, sigma
    raised = sigma * (1 + gamma)
    return x + noise.draw() * (spec.s_noise * math.sqrt(raised**2 - sigma**2)), raised
