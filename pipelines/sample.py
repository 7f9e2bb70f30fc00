"""One pass of a sampler: from noise, or from latents that are noised part of the way."""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast

from torch import Tensor

from .blend import Blend
from .denoiser import Denoiser
from .effects import Effects
from .guided import Course, Lead, Stopped, guided
from .noise import SCALE, BatchNoise
from .plan import SamplerSpec, Seeds
from .samplers import Sampler, find_sampler
from .schedules import SigmaTable, schedule_sigmas, timestep_sigmas, unipc_sigmas
from .steps import Stepping
from .watch import Watch

if TYPE_CHECKING:
    from models.families.base import ModelTraits

#: the time steps that a latent consistency model was distilled on
CONSISTENCY_STEPS = 50


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Pass:
    """What is sampled: `spec.steps` is the length of the schedule.

    With `latents` [N,C,h,w] only its last `last_steps` steps are run, from these latents noised:
    by the first noise times `noise_multiplier`, and `extra_noise` of it beside. `blend` keeps a
    part of them. `noise` [N,C,h,w] takes the place of the first noise.
    """

    spec: SamplerSpec
    seeds: Seeds
    width: int
    height: int
    latents: Tensor | None = None
    last_steps: int = 0
    noise_multiplier: float = 1.0
    extra_noise: float = 0.0
    blend: Blend | None = None
    noise: Tensor | None = None


@dataclass(frozen=True, slots=True)
class _Path:
    """The noise levels a sampler is given, and the one at which it starts from latents.

    `whole` is the schedule whose end they are: Brownian paths span all of it.
    """

    sigmas: list[float]
    start: float
    whole: list[float]


def sample(
    wanted: Pass, lead: Lead, traits: "ModelTraits", watch: Watch, effects: Effects
) -> Stepping[Tensor]:
    """Latents [N,C,h,w] of a pass; the newest denoised ones when it is stopped on the way."""
    sampler = find_sampler(wanted.spec.name)
    table = _denoiser(wanted.spec, traits).table
    path = _path(sampler, wanted, table)
    spec = wanted.spec
    if wanted.latents is not None:
        spec = replace(spec, steps=wanted.last_steps)
    shape = (traits.latent_channels, wanted.height // SCALE, wanted.width // SCALE)
    noise = BatchNoise(wanted.seeds, shape, traits.device, path.whole)
    first = noise.first() * wanted.noise_multiplier
    x = _start(sampler, wanted, path, first if wanted.noise is None else wanted.noise)
    watch.begin_pass(spec.steps)
    course = Course(
        lead=lead,
        denoiser=partial(_denoiser, wanted.spec),
        order=sampler.calls_a_step,
        blend=wanted.blend,
        on_timesteps=sampler.on_timesteps,
    )
    sampling = sampler.function(x, path.sigmas, noise, spec)
    try:
        latents = yield from guided(sampling, course, traits, watch, effects)
    except Stopped:
        # nothing denoised yet: what the pass began with, but not with the noise on it
        begun = x if wanted.latents is None else wanted.latents
        newest = watch.denoised
        latents = begun if newest is None else cast(Tensor, newest)
    watch.end_pass()
    return latents if wanted.blend is None else wanted.blend.result(latents)


def _denoiser(spec: SamplerSpec, traits: "ModelTraits") -> Denoiser:
    """How the sampler of `spec` asks the model of `traits`."""
    sampler = find_sampler(spec.name)
    table = spec.tables.table(traits.alphas_cumprod.tolist())
    if sampler.consistency:
        table = table.subset(CONSISTENCY_STEPS)
    return Denoiser(table=table, prediction=traits.prediction, consistency=sampler.consistency)


def _path(sampler: Sampler, wanted: Pass, table: SigmaTable) -> _Path:
    if sampler.on_timesteps:
        return _timestep_path(sampler, wanted, table)
    whole = sigmas = schedule_sigmas(wanted.spec, table)
    if wanted.latents is not None:
        sigmas = sigmas[max(wanted.spec.steps - wanted.last_steps, 0) :]
        ends = [sigmas[0], sigmas[-2], 0.0]
    else:
        ends = [table.high, table.low, 0.0]
    return _Path(ends if sampler.own_steps else sigmas, sigmas[0], whole)


def _timestep_path(sampler: Sampler, wanted: Pass, table: SigmaTable) -> _Path:
    """The time steps of a pass; from latents it starts one level above the first it visits."""
    sigmas = timestep_sigmas(wanted.spec.steps, table)
    if wanted.latents is None:
        whole = unipc_sigmas(wanted.spec, table) if sampler.own_grid else sigmas
        return _Path(whole, whole[0], whole)
    count = wanted.last_steps - 1
    start = sigmas[-count - 1]
    if count == 0:  # one step is none between two time steps
        return _Path([start], start, sigmas)
    kept = sigmas[-count:]
    if sampler.own_grid:
        kept = unipc_sigmas(wanted.spec, table, steps=count, from_timestep=table.timestep(kept[0]))
    return _Path(kept, start, sigmas)


def _start(sampler: Sampler, wanted: Pass, path: _Path, noise: Tensor) -> Tensor:
    """The sampler's first latents, in its scale."""
    first = path.sigmas[0]
    # time steps are counted in variance-preserving scale, where noise at the top has unit size
    full = sampler.on_timesteps or wanted.spec.sgm_noise_multiplier
    if wanted.latents is None:
        return noise * (math.sqrt(1 + first**2) if full else path.start)
    noised = wanted.latents + noise * path.start
    if not sampler.on_timesteps:
        return noised + noise * wanted.extra_noise
    preserved = noised / math.sqrt(1 + path.start**2)
    extra = noise * wanted.extra_noise / math.sqrt(1 + path.start**2)
    return (preserved + extra) * math.sqrt(1 + first**2)
