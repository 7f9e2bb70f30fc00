"""Classifier-free guidance: `Denoise` becomes `Predict` rows, and their answers one latent."""

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from .schedules import SigmaTable
from .steps import Denoise, Predict, Row, Sampling
from .watch import Watch


class Stopped(Exception):
    """The job was told to stop or to skip; `Watch.denoised` holds what there is."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Guidance:
    """What the model is guided by: `cond` and `uncond` [N,L,D], their lengths may differ."""

    cond: Tensor
    uncond: Tensor
    scale: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Denoiser:
    """How a model's raw output becomes noise-free latents, in Karras et al.'s preconditioning."""

    table: SigmaTable
    prediction: Literal["epsilon", "v"]

    def row(self, x: Tensor, sigma: float, context: Tensor) -> Row:
        """The model's input for latents `x` at `sigma`."""
        return Row(x / math.sqrt(sigma**2 + 1), self.table.timestep(sigma), context)

    def denoised(self, x: Tensor, sigma: float, output: Tensor) -> Tensor:
        """The noise-free latents that the raw `output` means."""
        if self.prediction == "v":
            return x / (sigma**2 + 1) - output * (sigma / math.sqrt(sigma**2 + 1))
        return x - output * sigma


def _mix(
    step: Denoise, guidance: Guidance, denoiser: Denoiser
) -> Generator[Predict, object, Tensor]:
    """One guided answer; at scale 1 the unconditional part has no weight and is not asked for."""
    contexts = [guidance.cond] if guidance.scale == 1 else [guidance.cond, guidance.uncond]
    rows = tuple(denoiser.row(step.x, step.sigma, context) for context in contexts)
    answers = yield Predict(rows)
    assert isinstance(answers, tuple)
    denoised = [denoiser.denoised(step.x, step.sigma, answer) for answer in answers]
    if len(denoised) == 1:
        return denoised[0]
    cond, uncond = denoised
    return uncond + (cond - uncond) * guidance.scale


def guided(
    sampling: Sampling, guidance: Guidance, denoiser: Denoiser, watch: Watch, *, order: int
) -> Generator[Predict, object, Tensor]:
    """Drive a sampler of `order` model calls a step to its end; returns its latents.

    Raises `Stopped` before the next model call once the job was told to stop.
    """
    calls = 0
    try:
        step = next(sampling)
        while True:
            if watch.stopping:
                raise Stopped
            denoised = yield from _mix(step, guidance, denoiser)
            calls += 1
            watch.stepped(-(-calls // order), denoised)
            step = sampling.send(denoised)
    except StopIteration as end:
        latents: Tensor = end.value
        return latents
