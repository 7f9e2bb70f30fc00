"""One generation from top to bottom: encode the prompts, sample, decode.

It never calls the device: it yields what it needs (`steps.py`) and the engine answers.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .denoiser import Denoiser
from .guidance import Guidance, Part, Stopped, Timeline, guided
from .noise import SCALE, BatchNoise
from .plan import BadPlan, Batch, Encoding, SamplerSpec, Txt2ImgPlan
from .prompt.chunks import Chunk, chunk_prompt
from .prompt.composition import split_composition
from .prompt.editing import Timing, parse_editing
from .prompt.networks import split_networks
from .samplers import Sampler, find_sampler
from .schedules import SigmaTable, schedule_sigmas, timestep_sigmas, unipc_sigmas
from .steps import Decode, Encode, Stepping
from .watch import Watch

if TYPE_CHECKING:
    from models.families.base import Checkpoint

#: the time steps that a latent consistency model was distilled on
CONSISTENCY_STEPS = 50


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GeneratedImage:
    """A finished picture, uint8 [H,W,3], and its place in the plan."""

    index: int
    pixels: NDArray[np.uint8]


def txt2img(
    plan: Txt2ImgPlan, checkpoint: "Checkpoint", watch: Watch
) -> Stepping[list[GeneratedImage]]:
    """The pictures of a plan, batch by batch; fewer when interrupted.

    Raises `BadPlan` for a checkpoint that wants more than latents, such as an inpainting one.
    """
    if checkpoint.in_channels != checkpoint.latent_channels:
        raise BadPlan(
            f"checkpoint {plan.checkpoint.name!r} takes {checkpoint.in_channels} channels, as for "
            f"inpainting: not supported yet; allowed: those that take {checkpoint.latent_channels}"
        )
    images: list[GeneratedImage] = []
    for batch in plan.batches():
        if watch.interrupted:
            break
        watch.begin_batch(batch.index)
        guidance = yield from _encode(batch, plan, checkpoint)
        latents = yield from _sample(batch, plan, guidance, checkpoint, watch)
        pixels = yield Decode(latents)
        first = batch.index * plan.batch_size
        images += [GeneratedImage(index=first + i, pixels=p) for i, p in enumerate(pixels)]
        watch.end_batch()
    return images


def _encode(batch: Batch, plan: Txt2ImgPlan, checkpoint: "Checkpoint") -> Stepping[Guidance]:
    """The conditioning of every image of a batch; equal prompts are encoded once."""
    order = 2 if find_sampler(plan.sampler.name).second_order else 1
    timing = Timing(steps=plan.sampler.steps * order, old=plan.encoding.old_editing)
    known: dict[str, Timeline] = {}

    def timeline(prompt: str) -> Stepping[Timeline]:
        if prompt not in known:
            known[prompt] = yield from _timeline(prompt, timing, plan.encoding, checkpoint)
        return known[prompt]

    conds: list[tuple[Part, ...]] = []
    unconds: list[Timeline] = []
    for prompt, negative in zip(batch.prompts, batch.negative_prompts, strict=True):
        parts: list[Part] = []
        # extra networks and AND are read from the positive prompt alone; elsewhere they are text
        for part in split_composition(split_networks(prompt)[0]):
            parts.append(Part((yield from timeline(part.text)), part.weight))
        conds.append(tuple(parts))
        unconds.append((yield from timeline(negative)))
    guided_by = plan.guidance
    empty = (yield from timeline("")).contexts[0] if guided_by.pad else None
    return Guidance(
        conds=tuple(conds),
        unconds=tuple(unconds),
        scale=guided_by.scale,
        calls=timing.steps,
        s_min_uncond=guided_by.s_min_uncond,
        s_min_uncond_all=guided_by.s_min_uncond_all,
        skip_early=guided_by.skip_early,
        filler=empty,
    )


def _timeline(
    prompt: str, timing: Timing, encoding: Encoding, checkpoint: "Checkpoint"
) -> Stepping[Timeline]:
    """The conditioning of a prompt over the model calls that `timing` counts."""
    stages = parse_editing(prompt, timing)
    texts = tuple(dict.fromkeys(stage.text for stage in stages))
    chunked = (_chunks(text, encoding, checkpoint) for text in (*texts, ""))
    *chunks, (empty,) = chunked
    answer: Tensor = yield Encode(tuple(chunks), empty, encoding)
    contexts = dict(zip(texts, torch.split(answer, 1), strict=True))
    return Timeline(
        tuple(stage.end for stage in stages), tuple(contexts[stage.text] for stage in stages)
    )


def _chunks(text: str, encoding: Encoding, checkpoint: "Checkpoint") -> tuple[Chunk, ...]:
    return chunk_prompt(
        text,
        checkpoint.tokenizer,
        backtrack=encoding.comma_backtrack,
        emphasis=encoding.emphasis != "None",
    )


def _sigmas(sampler: Sampler, spec: SamplerSpec, table: SigmaTable) -> list[float]:
    """The noise levels that the sampler is given."""
    if sampler.name == "UniPC":
        return unipc_sigmas(spec, table)
    if sampler.on_timesteps:
        return timestep_sigmas(spec.steps, table)
    if sampler.own_steps:
        return [table.high, table.low, 0.0]
    return schedule_sigmas(spec, table)


def _sample(
    batch: Batch, plan: Txt2ImgPlan, guidance: Guidance, checkpoint: "Checkpoint", watch: Watch
) -> Stepping[Tensor]:
    """Latents of a batch from noise; the newest denoised ones when it is stopped on the way."""
    sampler, spec = find_sampler(plan.sampler.name), plan.sampler
    table = SigmaTable.from_alphas(checkpoint.alphas_cumprod.tolist())
    if sampler.consistency:
        table = table.subset(CONSISTENCY_STEPS)
    sigmas = _sigmas(sampler, spec, table)
    shape = (checkpoint.latent_channels, plan.height // SCALE, plan.width // SCALE)
    noise = BatchNoise(batch.seeds, shape, checkpoint.device, sigmas)
    # a sampler on time steps starts from unit noise in variance-preserving scale
    full = sampler.on_timesteps or spec.sgm_noise_multiplier
    x = noise.first() * (math.sqrt(1 + sigmas[0] ** 2) if full else sigmas[0])
    denoiser = Denoiser(
        table=table, prediction=checkpoint.prediction, consistency=sampler.consistency
    )
    sampling = sampler.function(x, sigmas, noise, spec)
    order = 2 if sampler.second_order else 1
    try:
        latents = yield from guided(sampling, guidance, denoiser, watch, order=order)
    except Stopped:
        newest = watch.denoised
        latents = x if newest is None else cast(Tensor, newest)
    return latents
