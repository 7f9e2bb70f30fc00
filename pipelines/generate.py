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

from .guidance import Denoiser, Guidance, Stopped, guided
from .noise import SCALE, BatchNoise
from .plan import BadPlan, Batch, Encoding, Txt2ImgPlan
from .prompt.chunks import chunk_prompt
from .prompt.networks import split_networks
from .samplers import find_sampler
from .schedules import SigmaTable, schedule_sigmas, timestep_sigmas
from .steps import Decode, Encode, Stepping
from .watch import Watch

if TYPE_CHECKING:
    from models.families.base import Checkpoint


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
    # tags of extra networks are read from the positive prompt alone; elsewhere they are text
    prompts = [split_networks(prompt)[0] for prompt in batch.prompts]
    known: dict[str, Tensor] = {}
    for prompt in dict.fromkeys([*prompts, *batch.negative_prompts]):
        known[prompt] = yield _encode_step(prompt, plan.encoding, checkpoint)
    return Guidance(
        cond=_stack([known[prompt] for prompt in prompts]),
        uncond=_stack([known[prompt] for prompt in batch.negative_prompts]),
        scale=plan.cfg_scale,
    )


def _encode_step(prompt: str, encoding: Encoding, checkpoint: "Checkpoint") -> Encode:
    chunks = chunk_prompt(
        prompt,
        checkpoint.tokenizer,
        backtrack=encoding.comma_backtrack,
        emphasis=encoding.emphasis != "None",
    )
    return Encode(chunks, encoding)


def _stack(conditionings: list[Tensor]) -> Tensor:
    """One conditioning an image; shorter ones are lengthened by repeating their last vector."""
    longest = max(c.shape[1] for c in conditionings)
    return torch.cat(
        [torch.cat([c, c[:, -1:].expand(-1, longest - c.shape[1], -1)], 1) for c in conditionings]
    )


def _sample(
    batch: Batch, plan: Txt2ImgPlan, guidance: Guidance, checkpoint: "Checkpoint", watch: Watch
) -> Stepping[Tensor]:
    """Latents of a batch from noise; the newest denoised ones when it is stopped on the way."""
    sampler, spec = find_sampler(plan.sampler.name), plan.sampler
    table = SigmaTable.from_alphas(checkpoint.alphas_cumprod.tolist())
    if sampler.on_timesteps:
        sigmas = timestep_sigmas(spec.steps, table)
    else:
        sigmas = schedule_sigmas(spec, table)
    shape = (checkpoint.latent_channels, plan.height // SCALE, plan.width // SCALE)
    noise = BatchNoise(batch.seeds, shape, checkpoint.device, sigmas)
    first = noise.first()
    # a sampler on time steps starts from unit noise in variance-preserving scale
    full = sampler.on_timesteps or spec.sgm_noise_multiplier
    x = first * (math.sqrt(1 + sigmas[0] ** 2) if full else sigmas[0])
    denoiser = Denoiser(table=table, prediction=checkpoint.prediction)
    sampling = sampler.function(x, sigmas, noise, spec)
    order = 2 if sampler.second_order else 1
    try:
        latents = yield from guided(sampling, guidance, denoiser, watch, order=order)
    except Stopped:
        newest = watch.denoised
        latents = x if newest is None else cast(Tensor, newest)
    return latents
