"""The hires fix: the first pass's latents, enlarged, noised and sampled again."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from .encode import Texts, encode_texts, model_calls
from .noise import SCALE
from .plan import Batch, HiresPass, Txt2ImgPlan
from .prompt.editing import Timing
from .sample import Pass, sample
from .steps import Decode, EncodeImage, Stepping
from .upscalers import LATENT_UPSCALERS, PIXEL_UPSCALERS
from .watch import Watch

if TYPE_CHECKING:
    from models.families.base import Checkpoint


def second_pass(
    latents: Tensor,
    batch: Batch,
    plan: Txt2ImgPlan,
    hires: HiresPass,
    checkpoint: "Checkpoint",
    watch: Watch,
) -> Stepping[Tensor]:
    """Latents of the enlarged pictures."""
    enlarged = yield from _enlarged(latents, hires)
    if not hires.denoising:
        return enlarged
    start = batch.index * plan.batch_size
    chosen = slice(start, start + plan.batch_size)
    ran = replace(hires.sampler, steps=hires.steps)
    old = plan.encoding.old_editing
    timing = Timing(
        steps=model_calls(plan.sampler if old else ran),
        earlier_steps=0 if old else model_calls(plan.sampler),
        earlier_shares=0.0 if old else 1.0,
        old=old,
    )
    texts = Texts(hires.prompts[chosen], hires.negative_prompts[chosen])
    guidance = yield from encode_texts(texts, timing, plan, checkpoint)
    length = int(hires.steps / min(hires.denoising, 0.999))
    wanted = Pass(
        spec=replace(hires.sampler, steps=length),
        seeds=batch.seeds,
        width=enlarged.shape[3] * SCALE,
        height=enlarged.shape[2] * SCALE,
        latents=enlarged,
        last_steps=hires.steps,
    )
    return (yield from sample(wanted, guidance, checkpoint, watch))


def _enlarged(latents: Tensor, hires: HiresPass) -> Stepping[Tensor]:
    if hires.upscaler not in LATENT_UPSCALERS:
        pixels = yield Decode(latents)
        resampling = PIXEL_UPSCALERS[hires.upscaler]
        bigger = np.stack([_resized(each, hires, resampling) for each in pixels])
        encoded: Tensor = yield EncodeImage(bigger)
        return encoded
    mode, antialias = LATENT_UPSCALERS[hires.upscaler]
    size = (hires.height // SCALE, hires.width // SCALE)
    big: Tensor = functional.interpolate(latents, size=size, mode=mode, antialias=antialias)
    return _cropped(big, hires)


def _cropped(latents: Tensor, hires: HiresPass) -> Tensor:
    """The middle of the enlarged latents, where only one side had to grow so far."""
    spare_x = (hires.width - hires.crop[0]) // SCALE
    spare_y = (hires.height - hires.crop[1]) // SCALE
    bottom = latents.shape[2] - (spare_y + 1) // 2
    right = latents.shape[3] - (spare_x + 1) // 2
    return torch.narrow(
        torch.narrow(latents, 2, spare_y // 2, bottom - spare_y // 2),
        3,
        spare_x // 2,
        right - spare_x // 2,
    )


def _resized(
    pixels: NDArray[np.uint8], hires: HiresPass, resampling: Image.Resampling
) -> NDArray[np.uint8]:
    image = Image.fromarray(pixels)
    scale = max(hires.width / image.width, hires.height / image.height)
    if scale > 1:
        size = (
            int(image.width * scale) // SCALE * SCALE,
            int(image.height * scale) // SCALE * SCALE,
        )
        image = image.resize(size, resampling)
    if image.size != (hires.width, hires.height):
        image = image.resize((hires.width, hires.height), Image.Resampling.LANCZOS)
    return np.asarray(image)
