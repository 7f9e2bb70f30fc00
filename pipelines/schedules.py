"""Sigma schedules: the noise levels that a sampler visits, from high to low.

Everything here is float64 on the host and torch-free. A schedule function takes the number of
sigmas wanted, the model's table and the range, and returns the sigmas; most end in 0.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from .plan import BadPlan, SamplerSpec
from .tables import Floats
from .tables import SigmaTable as SigmaTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The ends and the shape of a schedule."""

    low: float
    high: float
    rho: float
    alpha: float
    beta: float


def _ending_in_zero(sigmas: Floats) -> Floats:
    return np.append(sigmas, 0.0)


def uniform(n: int, table: SigmaTable, span: Range) -> Floats:
    """Evenly spaced time steps from the last to the first."""
    first, last = table.timesteps[0], table.timesteps[-1]
    return _ending_in_zero(table.sigma(np.linspace(last, first, n)))


def karras(n: int, table: SigmaTable, span: Range) -> Floats:
    """Equation 5 of https://arxiv.org/abs/2206.00364."""
    low, high = span.low ** (1 / span.rho), span.high ** (1 / span.rho)
    return _ending_in_zero((high + np.linspace(0, 1, n) * (low - high)) ** span.rho)


def exponential(n: int, table: SigmaTable, span: Range) -> Floats:
    """Evenly spaced in log sigma."""
    return _ending_in_zero(np.exp(np.linspace(math.log(span.high), math.log(span.low), n)))


def polyexponential(n: int, table: SigmaTable, span: Range) -> Floats:
    """A power `rho` of an even spacing in log sigma."""
    ramp = np.linspace(1, 0, n) ** span.rho
    low, high = math.log(span.low), math.log(span.high)
    return _ending_in_zero(np.exp(ramp * (high - low) + low))


def sgm_uniform(n: int, table: SigmaTable, span: Range) -> Floats:
    """Evenly spaced time steps without the last of n + 1."""
    steps = np.linspace(table.timestep(span.high), table.timestep(span.low), n + 1)[:-1]
    return _ending_in_zero(table.sigma(steps))


def kl_optimal(n: int, table: SigmaTable, span: Range) -> Floats:
    """Even in arctan sigma, down to the low sigma and no 0.

    Section 3.2 of https://arxiv.org/abs/2404.14507.
    """
    ramp = np.arange(n + 1) / n
    return np.asarray(np.tan(ramp * math.atan(span.low) + (1 - ramp) * math.atan(span.high)))


#: 10-step optimum for SD1.x of Align Your Steps, https://arxiv.org/abs/2404.14507
_ALIGNED = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)


def align_your_steps(n: int, table: SigmaTable, span: Range) -> Floats:
    """The published optimum, interpolated in log sigma where n differs from its length."""
    points = np.linspace(0, 1, len(_ALIGNED))
    return _ending_in_zero(np.exp(np.interp(np.linspace(0, 1, n), points, np.log(_ALIGNED))))


def simple(n: int, table: SigmaTable, span: Range) -> Floats:
    """Every so many-th sigma of the table, from the highest."""
    stride = len(table.sigmas) / n
    return _ending_in_zero(np.array([table.sigmas[-1 - int(i * stride)] for i in range(n)]))


def normal(n: int, table: SigmaTable, span: Range) -> Floats:
    """Evenly spaced time steps between the ends of the range."""
    return _ending_in_zero(
        table.sigma(np.linspace(table.timestep(span.high), table.timestep(span.low), n))
    )


def ddim(n: int, table: SigmaTable, span: Range) -> Floats:
    """The table at DDIM's stride from time step 1; may hold more than n sigmas."""
    stride = max(len(table.sigmas) // n, 1)
    return _ending_in_zero(table.sigmas[1::stride][::-1])


def beta(n: int, table: SigmaTable, span: Range) -> Floats:
    """Quantiles of a Beta distribution, https://arxiv.org/abs/2407.12173, scaled to the range."""
    quantiles = betaincinv(span.alpha, span.beta, 1 - np.linspace(0, 1, n))
    return _ending_in_zero(span.low + quantiles * (span.high - span.low))


ScheduleFunction = Callable[[int, SigmaTable, Range], Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A row of the table. `need_inner_model`: reads the model's table, not only its range."""

    name: str
    label: str
    function: ScheduleFunction
    aliases: tuple[str, ...] = ()
    default_rho: float = -1.0
    need_inner_model: bool = False


SCHEDULES: tuple[Schedule, ...] = (
    Schedule(name="automatic", label="Automatic", function=uniform),
    Schedule(name="uniform", label="Uniform", function=uniform, need_inner_model=True),
    Schedule(name="karras", label="Karras", function=karras, default_rho=7.0),
    Schedule(name="exponential", label="Exponential", function=exponential),
    Schedule(
        name="polyexponential", label="Polyexponential", function=polyexponential, default_rho=1.0
    ),
    Schedule(
        name="sgm_uniform",
        label="SGM Uniform",
        function=sgm_uniform,
        aliases=("SGMUniform",),
        need_inner_model=True,
    ),
    Schedule(name="kl_optimal", label="KL Optimal", function=kl_optimal),
    Schedule(name="align_your_steps", label="Align Your Steps", function=align_your_steps),
    Schedule(name="simple", label="Simple", function=simple, need_inner_model=True),
    Schedule(name="normal", label="Normal", function=normal, need_inner_model=True),
    Schedule(name="ddim", label="DDIM", function=ddim, need_inner_model=True),
    Schedule(name="beta", label="Beta", function=beta, need_inner_model=True),
)


def find_schedule(name: str) -> Schedule:
    """The row called exactly `name`. Raises `BadPlan` naming the schedules there are."""
    for schedule in SCHEDULES:
        if schedule.name == name:
            return schedule
    raise BadPlan(f"unknown schedule {name!r}; allowed: {', '.join(s.name for s in SCHEDULES)}")


def schedule_sigmas(spec: SamplerSpec, table: SigmaTable) -> list[float]:
    """The sigmas that `spec` asks for, rounded to float32 as the reference holds them.

    Raises `BadPlan` for numbers that give no descending sigmas.
    """
    schedule = find_schedule(spec.schedule)
    span = Range(
        low=spec.sigma_min or table.low,
        high=spec.sigma_max or table.high,
        rho=spec.rho or schedule.default_rho,
        alpha=spec.beta_alpha,
        beta=spec.beta_beta,
    )
    if not (0 < span.low < span.high and span.alpha > 0 and span.beta > 0 and span.rho != 0):
        raise BadPlan(f"no schedule from {span}; allowed: 0 < low < high, alpha and beta above 0")
    sigmas = schedule.function(spec.steps + spec.discard_penultimate, table, span)
    if spec.discard_penultimate:
        sigmas = np.delete(sigmas, -2)
    rounded = [float(sigma) for sigma in sigmas.astype(np.float32)]
    if not all(math.isfinite(sigma) and sigma > 0 for sigma in rounded[:-1]):
        raise BadPlan(f"schedule {spec.schedule!r} gives no sigmas above 0 from {span}")
    return rounded


def timestep_sigmas(steps: int, table: SigmaTable) -> list[float]:
    """The sigmas of the evenly spaced integer time steps of DDIM and its kin, high to low.

    Whole strides only, so that the number of updates (one less than the sigmas) can exceed `steps`.
    """
    count = len(table.sigmas)
    timesteps = np.clip(np.arange(0, count, max(count // steps, 1)) + 1, 0, count - 1)
    return [float(sigma) for sigma in table.sigmas[timesteps][::-1]]


def unipc_sigmas(
    spec: SamplerSpec,
    table: SigmaTable,
    *,
    steps: int | None = None,
    from_timestep: float | None = None,
) -> list[float]:
    """UniPC's own sigmas, high to low: as many steps as `timestep_sigmas` has values, or `steps`.

    It spaces continuous time t in (0, 1] from the last time step, or from the one given; log alpha
    is interpolated linearly in it.
    """
    count = len(table.sigmas)
    steps = len(timestep_sigmas(spec.steps, table)) if steps is None else steps
    top = 1.0 if from_timestep is None else (from_timestep + 1) / count
    log_alphas = -0.5 * np.log1p(table.sigmas**2)
    if spec.unipc_spacing == "logSNR":
        high = math.log(table.sigma(np.array([top * count - 1]))[0])
        sigmas = np.exp(np.linspace(high, math.log(table.low), steps + 1))
    else:
        power = 2 if spec.unipc_spacing == "time_quadratic" else 1
        ends = top ** (1 / power), (1 / count) ** (1 / power)
        times = np.linspace(*ends, steps + 1) ** power
        alphas = np.exp(np.interp(times * count - 1, np.arange(count), log_alphas))
        sigmas = np.sqrt(1 - alphas**2) / alphas
    return [float(sigma) for sigma in sigmas]
