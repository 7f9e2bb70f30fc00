"""A sampler driven by a model: guidance, inpainting's blend, and a refiner that takes over."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from .blend import Blend
from .denoiser import Denoiser
from .effects import Effects
from .guidance import Guidance, Mixer, blended
from .plan import Refining
from .steps import DenoiseApart, Sampling, Stepping, Use
from .watch import Watch

if TYPE_CHECKING:
    from models.families.base import ModelTraits

#: the time step at which a model's noise is strongest
_LAST_TIMESTEP = 999


class Stopped(Exception):
    """The job was told to stop or to skip; `Watch.denoised` holds what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """How a pass is led on whatever model it runs: `guide` encodes its prompts for that model.

    With `refining` another model takes over on the way of pass `number` of the batch.
    """

    guide: "Callable[[ModelTraits], Stepping[Guidance]]"
    refining: Refining | None = None
    number: int = 0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Course:
    """What drives a sampler of `order` model calls a step.

    `denoiser` makes the denoiser of a model. Samplers `on_timesteps` count noise by the time step,
    and have inpainting blended before the model sees the latents.
    """

    lead: Lead
    denoiser: "Callable[[ModelTraits], Denoiser]"
    order: int
    blend: Blend | None = None
    on_timesteps: bool = False


def guided(
    sampling: Sampling, course: Course, traits: "ModelTraits", watch: Watch, effects: Effects
) -> Stepping[Tensor]:
    """Drive a sampler to its end on the model of `traits`; returns its latents.

    Raises `Stopped` before the next model call once the job was told to stop.
    """
    refining, call = course.lead.refining, 0
    guidance = yield from course.lead.guide(traits)
    denoiser = course.denoiser(traits)
    try:
        step = next(sampling)
        mixer = Mixer(guidance, denoiser, step.x.device)
        while True:
            if watch.stopping:
                raise Stopped
            if refining is not None and _due(refining, call / guidance.calls, step.sigma, denoiser):
                traits, refining = (yield Use(refining.model)), None
                guidance = yield from course.lead.guide(traits)
                denoiser = course.denoiser(traits)
                mixer = Mixer(guidance, denoiser, step.x.device)
                effects.refined.add(course.lead.number)
                effects.notes |= dict.fromkeys(traits.notes)
            level = denoiser.table.timestep(step.sigma) if course.on_timesteps else step.sigma
            seen, change = blended(step, course.blend, level, before=course.on_timesteps)
            mixed = yield from mixer.mix(seen, call, effects, level)
            denoised, uncond = mixed.denoised, mixed.uncond
            if change is not None:
                denoised, uncond = denoised + change, uncond + change
            elif course.blend is not None:
                denoised = course.blend.at(denoised, level)
            call += 1
            half = mixed.half(watch.preview_content)
            watch.stepped(math.ceil(call / course.order), denoised, half)
            answer = (denoised, uncond) if isinstance(step, DenoiseApart) else denoised
            step = sampling.send(answer)
    except StopIteration as end:
        latents: Tensor = end.value
        return latents


def _due(refining: Refining, share_of_calls: float, sigma: float, denoiser: Denoiser) -> bool:
    """Whether the refiner takes over before a model call at `sigma`."""
    if refining.at is None:
        return True
    if refining.by_steps:
        return share_of_calls >= refining.at
    passed = _LAST_TIMESTEP - denoiser.table.nearest(sigma)
    return passed / (_LAST_TIMESTEP + 1) >= refining.at
