"""Classifier-free guidance: `Denoise` becomes `Predict` rows, and their answers one latent."""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .denoiser import Denoiser
from .steps import Denoise, DenoiseApart, Predict, Sampling
from .watch import Watch


class Stopped(Exception):
    """The job was told to stop or to skip; `Watch.denoised` holds what there is."""


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """A prompt's conditioning over a pass: `contexts` [1,L,D], each up to call `ends` of it."""

    ends: tuple[int, ...]
    contexts: tuple[Tensor, ...]

    def at(self, call: int) -> Tensor:
        """The conditioning of model call `call` (from 0); the first again once all have ended."""
        for end, context in zip(self.ends, self.contexts, strict=True):
            if call <= end:
                return context
        return self.contexts[0]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One prompt of an image's composition, and its weight."""

    timeline: Timeline
    weight: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Guidance:
    """What a batch is guided by; `conds` and `unconds` have one entry an image.

    Below `s_min_uncond` every other model call (`s_min_uncond_all`: each) goes without the
    unconditional part, and so do the first `skip_early` of all `calls`. `filler` [1,77,D], the
    conditioning of an empty prompt, lengthens the shorter of the two where it is given.
    """

    conds: tuple[tuple[Part, ...], ...]
    unconds: tuple[Timeline, ...]
    scale: float
    calls: int
    s_min_uncond: float = 0.0
    s_min_uncond_all: bool = False
    skip_early: float = 0.0
    filler: Tensor | None = None

    def without_uncond(self, call: int, sigma: float) -> bool:
        """Whether model call `call` (from 0) at `sigma` is guided by the conditional part alone."""
        if self.scale == 1 and all(sum(p.weight for p in parts) == 1 for parts in self.conds):
            return True  # then the unconditional part has no weight
        if self.skip_early and call / self.calls <= self.skip_early:
            return True
        odd = self.s_min_uncond_all or call % 2 == 1
        return odd and sigma < self.s_min_uncond


def _stacked(contexts: Sequence[Tensor]) -> Tensor:
    """One context an image [N,L,D]; shorter ones are lengthened by repeating their last vector."""
    longest = max(context.shape[1] for context in contexts)
    return torch.cat(
        [
            torch.cat([each, each[:, -1:].expand(-1, longest - each.shape[1], -1)], dim=1)
            for each in contexts
        ]
    )


def _padded(context: Tensor, length: int, filler: Tensor) -> Tensor:
    """`context` [N,L,D] lengthened to at least `length` by whole chunks of an empty prompt."""
    missing = (length - context.shape[1]) // filler.shape[1]
    return torch.cat([context, *[filler.expand(context.shape[0], -1, -1)] * max(missing, 0)], dim=1)


def _mix(
    step: Denoise | DenoiseApart, call: int, guidance: Guidance, denoiser: Denoiser
) -> Generator[Predict, Any, tuple[Tensor, Tensor]]:
    """The guided and the unconditional answer (the conditional one where that is left out)."""
    x, sigma = step.x, step.sigma
    parts = [(i, part) for i, image in enumerate(guidance.conds) for part in image]
    images = [i for i, _ in parts]
    cond = _stacked([part.timeline.at(call) for _, part in parts])
    uncond = _stacked([timeline.at(call) for timeline in guidance.unconds])
    if guidance.filler is not None:
        longest = max(cond.shape[1], uncond.shape[1])
        cond = _padded(cond, longest, guidance.filler)
        uncond = _padded(uncond, longest, guidance.filler)
    apart = isinstance(step, DenoiseApart)
    alone = not apart and guidance.without_uncond(call, sigma)
    spread = x if images == list(range(x.shape[0])) else x[images]
    rows = [denoiser.row(spread, sigma, cond)]
    if not alone:
        rows.append(denoiser.row(x, sigma, uncond))
    answers = yield Predict(tuple(rows))
    answered = denoiser.denoised(spread, sigma, answers[0])
    base = (
        answered[[images.index(i) for i in range(x.shape[0])]]
        if alone
        else denoiser.denoised(x, sigma, answers[1])
    )
    scale = guidance.scale * (step.scale if isinstance(step, DenoiseApart) else 1.0)
    weights = torch.tensor([part.weight for _, part in parts], device=x.device) * scale
    differences = (answered - base[images]) * weights.view(-1, 1, 1, 1)
    guided = base.index_add(0, torch.tensor(images, device=x.device), differences)
    return guided, base


def guided(
    sampling: Sampling, guidance: Guidance, denoiser: Denoiser, watch: Watch, *, order: int
) -> Generator[Predict, Any, Tensor]:
    """Drive a sampler of `order` model calls a step to its end; returns its latents.

    Raises `Stopped` before the next model call once the job was told to stop.
    """
    call = 0
    try:
        step = next(sampling)
        while True:
            if watch.stopping:
                raise Stopped
            denoised, uncond = yield from _mix(step, call, guidance, denoiser)
            call += 1
            watch.stepped(math.ceil(call / order), denoised)
            answer = (denoised, uncond) if isinstance(step, DenoiseApart) else denoised
            step = sampling.send(answer)
    except StopIteration as end:
        latents: Tensor = end.value
        return latents
