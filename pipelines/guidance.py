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


class _Mixer:
    """Turns a sampler's wishes into rows and mixes the answers.

    What stays the same over a pass is put on the device once, so that no step waits for a copy.
    """

    def __init__(self, guidance: Guidance, denoiser: Denoiser, device: torch.device) -> None:
        """Guide by `guidance` on `device`, where the latents are."""
        self._guidance = guidance
        self._denoiser = denoiser
        placed = [(i, part) for i, image in enumerate(guidance.conds) for part in image]
        images = [i for i, _ in placed]
        self._parts = [part for _, part in placed]
        self._one_each = images == list(range(len(guidance.conds)))
        self._images = torch.tensor(images, device=device)
        first = [images.index(i) for i in range(len(guidance.conds))]
        self._first = torch.tensor(first, device=device)
        weights = torch.tensor([part.weight for part in self._parts], device=device)
        self._weights = weights.view(-1, 1, 1, 1)
        self._stacks: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}

    def mix(
        self, step: Denoise | DenoiseApart, call: int
    ) -> Generator[Predict, Any, tuple[Tensor, Tensor]]:
        """The guided and the unconditional answer (the conditional one where that is left out)."""
        x, sigma, scale = step.x, step.sigma, self._guidance.scale
        alone = self._guidance.without_uncond(call, sigma)
        if isinstance(step, DenoiseApart):
            scale, alone = scale * step.scale, False
        cond, uncond = self._contexts(call)
        spread = x if self._one_each else x[self._images]
        rows = [self._denoiser.row(spread, sigma, cond)]
        if not alone:
            rows.append(self._denoiser.row(x, sigma, uncond))
        answers = yield Predict(tuple(rows))
        answered = self._denoiser.denoised(spread, sigma, answers[0])
        base = answered[self._first] if alone else self._denoiser.denoised(x, sigma, answers[1])
        differences = (answered - base[self._images]) * (self._weights * scale)
        return base.index_add(0, self._images, differences), base

    def _contexts(self, call: int) -> tuple[Tensor, Tensor]:
        """The conditional and the unconditional context of model call `call`."""
        conds = [part.timeline.at(call) for part in self._parts]
        unconds = [timeline.at(call) for timeline in self._guidance.unconds]
        stage = tuple(id(context) for context in (*conds, *unconds))
        if stage not in self._stacks:
            cond, uncond = _stacked(conds), _stacked(unconds)
            filler = self._guidance.filler
            if filler is not None:
                longest = max(cond.shape[1], uncond.shape[1])
                cond, uncond = _padded(cond, longest, filler), _padded(uncond, longest, filler)
            self._stacks[stage] = cond, uncond
        return self._stacks[stage]


def guided(
    sampling: Sampling, guidance: Guidance, denoiser: Denoiser, watch: Watch, *, order: int
) -> Generator[Predict, Any, Tensor]:
    """Drive a sampler of `order` model calls a step to its end; returns its latents.

    Raises `Stopped` before the next model call once the job was told to stop.
    """
    call = 0
    try:
        step = next(sampling)
        mixer = _Mixer(guidance, denoiser, step.x.device)
        while True:
            if watch.stopping:
                raise Stopped
            denoised, uncond = yield from mixer.mix(step, call)
            call += 1
            watch.stepped(math.ceil(call / order), denoised)
            answer = (denoised, uncond) if isinstance(step, DenoiseApart) else denoised
            step = sampling.send(answer)
    except StopIteration as end:
        latents: Tensor = end.value
        return latents
