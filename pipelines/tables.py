"""The noise levels of a model's time steps, and how settings change them; torch-free."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: what the last cumulative product of alpha becomes where it should be 0, which has no sigma
LAST_ALPHA = 4.8973451890853435e-08


@dataclass(frozen=True, slots=True, eq=False)
class SigmaTable:
    """The noise level of each training time step: sigma_k = sqrt((1 - a_k) / a_k).

    `timesteps` are those of `sigmas`. A `quantized` table knows no time steps between them.
    """

    sigmas: Floats
    timesteps: Floats
    quantized: bool = False
    log_sigmas: Floats = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "log_sigmas", np.log(self.sigmas))

    @classmethod
    def from_alphas(cls, alphas_cumprod: Sequence[float]) -> "SigmaTable":
        """The table of a model with these cumulative products of alpha, one a time step."""
        alphas = np.asarray(alphas_cumprod, np.float64)
        return cls(np.sqrt((1 - alphas) / alphas), np.arange(len(alphas), dtype=np.float64))

    def subset(self, count: int) -> "SigmaTable":
        """Every so many-th time step down from the last, `count` in all, and none between."""
        stride = len(self.sigmas) // count
        kept = slice(stride - 1, None, stride)
        return SigmaTable(self.sigmas[kept], self.timesteps[kept], quantized=True)

    @property
    def low(self) -> float:
        """The smallest sigma the model was trained on."""
        return float(self.sigmas[0])

    @property
    def high(self) -> float:
        """The largest sigma the model was trained on."""
        return float(self.sigmas[-1])

    def sigma(self, timestep: Floats) -> Floats:
        """Sigmas at fractional time steps, linear in log sigma."""
        logs = np.interp(timestep, self.timesteps, self.log_sigmas)
        return np.asarray(np.exp(logs), np.float64)

    def nearest(self, sigma: float) -> int:
        """The index of the sigma that is nearest."""
        return int(np.abs(self.sigmas - sigma).argmin())

    def timestep(self, sigma: float) -> float:
        """The time step of a sigma, clamped to the table: the inverse of `sigma`."""
        if self.quantized:
            return float(self.timesteps[np.abs(self.log_sigmas - math.log(sigma)).argmin()])
        return float(np.interp(math.log(sigma), self.log_sigmas, self.timesteps))


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRule:
    """How a sigma table is made of a model's cumulative products of alpha.

    `half` rounds these to float16, as webui before 1.7 held them. `zero_terminal_snr` spreads them
    so that nothing of the picture is left at the last time step. A `quantized` table gives the
    model whole time steps only.
    """

    half: bool = False
    zero_terminal_snr: bool = False
    quantized: bool = False

    def table(self, alphas_cumprod: Sequence[float]) -> SigmaTable:
        """The table of a model with these cumulative products of alpha, one a time step."""
        alphas = np.asarray(alphas_cumprod, np.float64)
        if self.half:
            alphas = np.maximum(alphas.astype(np.float16).astype(np.float64), LAST_ALPHA)
        if self.zero_terminal_snr:
            alphas = zero_terminal_snr(alphas)
        return replace(SigmaTable.from_alphas(alphas.tolist()), quantized=self.quantized)


def zero_terminal_snr(alphas_cumprod: Floats) -> Floats:
    """Shift and scale the square roots so that the first stays and the last becomes (almost) 0.

    Algorithm 1 of https://arxiv.org/abs/2305.08891.
    """
    roots = np.sqrt(alphas_cumprod)
    first, last = roots[0], roots[-1]
    spread = ((roots - last) * first / (first - last)) ** 2
    spread[-1] = LAST_ALPHA
    return np.asarray(spread, np.float64)
