"""Classifier-free guidance: `Denoise` becomes `Predict` rows, and their answers one latent."""

import math
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .blend import Blend
from .contexts import matched, padded, stacked
from .denoiser import Denoiser
from .effects import Effects
from .steps import Conditioning, Denoise, DenoiseApart, Predict
from .watch import PreviewContent


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """A prompt's conditioning over a pass: what is `told`, of one row, up to call `ends` of it."""

    ends: tuple[int, ...]
    told: tuple[Conditioning, ...]

    def at(self, call: int) -> Conditioning:
        """The conditioning of model call `call` (from 0); the first again once all have ended."""
        for end, told in zip(self.ends, self.told, strict=True):
            if call <= end:
                return told
        return self.told[0]


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
    conditioning of an empty prompt, lengthens the shorter of the two where it is given. `shown`
    [n,C,h,w] is what the model is given beside the latents (n is 1 or the number of images);
    `image_scale` is how strongly that guides where it guides by itself (instruct-pix2pix,
    https://arxiv.org/abs/2211.09800, eq. 3).
    """

    conds: tuple[tuple[Part, ...], ...]
    unconds: tuple[Timeline, ...]
    scale: float
    calls: int
    s_min_uncond: float = 0.0
    s_min_uncond_all: bool = False
    skip_early: float = 0.0
    filler: Tensor | None = None
    match: bool = False
    shown: Tensor | None = None
    image_scale: float | None = None

    def without_uncond(self, call: int, level: float, effects: Effects) -> bool:
        """Whether model call `call` (from 0) at `level` is guided by the conditional part alone.

        The level of noise is a sigma, or as in the reference a time step, if samplers count so.
        """
        if self.image_scale is not None:  # the picture's guidance is read from it as well
            return False
        if self.skip_early and call / self.calls <= self.skip_early:
            effects.skipped_early = True
            return True
        odd = self.s_min_uncond_all or call % 2 == 1
        if odd and level < self.s_min_uncond:
            effects.skipped_small_sigma = True
            return True
        # the unconditional part may have no weight at all
        return self.scale == 1 and all(
            sum(part.weight for part in parts) == 1 for parts in self.conds
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Mixed:
    """What a model call came to [N,C,h,w]: guided, by the prompt alone, and without the prompt.

    Where the unconditional part is left out, `uncond` is the conditional one.
    """

    denoised: Tensor
    cond: Tensor
    uncond: Tensor

    def half(self, content: PreviewContent) -> Tensor | None:
        """The half that a preview of this content shows; None where it shows the whole."""
        halves = {"Prompt": self.cond, "Negative prompt": self.uncond}
        return halves.get(content)


class Mixer:
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
        self._stacks: dict[tuple[int, ...], tuple[Conditioning, Conditioning]] = {}
        self._shown: Tensor | None = None
        if guidance.shown is not None:
            self._shown = guidance.shown.expand(len(guidance.conds), -1, -1, -1)

    def mix(
        self, step: Denoise | DenoiseApart, call: int, effects: Effects, level: float | None = None
    ) -> Generator[Predict, Any, Mixed]:
        """What the model makes of `step` at model call `call` (from 0)."""
        guidance, x, sigma = self._guidance, step.x, step.sigma
        alone = guidance.without_uncond(call, sigma if level is None else level, effects)
        scale = guidance.scale
        if isinstance(step, DenoiseApart):
            scale, alone = scale * step.scale, False
        cond, uncond = self._told(call, effects)
        spread = x if self._one_each else x[self._images]
        shown = self._shown
        spread_shown = shown if shown is None or self._one_each else shown[self._images]
        row, denoised = self._denoiser.row, self._denoiser.denoised
        rows = [row(spread, sigma, cond, spread_shown)]
        if not alone:
            rows.append(row(x, sigma, uncond, shown))
        if guidance.image_scale is not None and shown is not None:
            rows.append(row(x, sigma, uncond, torch.zeros_like(shown)))
        answers = yield Predict(tuple(rows))
        answered = denoised(spread, sigma, answers[0])
        base = answered[self._first] if alone else denoised(x, sigma, answers[1])
        differences = (answered - base[self._images]) * (self._weights * scale)
        mixed = base.index_add(0, self._images, differences)
        if guidance.image_scale is not None and shown is not None:
            unseeing = denoised(x, sigma, answers[2])
            mixed = mixed + (guidance.image_scale - 1) * (base - unseeing)
        return Mixed(denoised=mixed, cond=answered[self._first], uncond=base)

    def _told(self, call: int, effects: Effects) -> tuple[Conditioning, Conditioning]:
        """The conditional and the unconditional conditioning of model call `call`."""
        conds = [part.timeline.at(call) for part in self._parts]
        unconds = [timeline.at(call) for timeline in self._guidance.unconds]
        stage = tuple(id(told) for told in (*conds, *unconds))
        if stage not in self._stacks:
            cond, uncond = stacked(conds), stacked(unconds)
            lengths = cond.context.shape[1], uncond.context.shape[1]
            filler = self._guidance.filler
            if self._guidance.match and lengths[0] != lengths[1]:
                uncond = replace(uncond, context=matched(uncond.context, lengths[0]))
                effects.matched = True
            elif filler is not None and lengths[0] != lengths[1]:
                cond, uncond = (
                    replace(each, context=padded(each.context, max(lengths), filler))
                    for each in (cond, uncond)
                )
                effects.padded = True
            self._stacks[stage] = cond, uncond
        return self._stacks[stage]


def blended(
    step: Denoise | DenoiseApart, blend: Blend | None, level: float, *, before: bool
) -> tuple[Denoise | DenoiseApart, Tensor | None]:
    """The step with what is not repainted put back before the model sees it, and the change.

    Samplers on time steps are blended before the call: their kept part is in variance-preserving
    scale, which the latents at hand are not. What the blend changed is added to the answer, so that
    the sampler reads from it the noise that the model saw in the blended latents.
    """
    if blend is None or not before:
        return step, None
    seen = blend.at(step.x, level, scale=math.sqrt(1 + step.sigma**2))
    return replace(step, x=seen), step.x - seen
