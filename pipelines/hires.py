"""The hires fix: the first pass's latents, enlarged, noised and sampled again."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from .effects import Effects
from .encode import Texts, encode_texts, model_calls
from .guidance import Guidance
from .guided import Lead, Stopped
from .noise import SCALE
from .pictures.resize import STRETCH, resized
from .pictures.upscale import Tick
from .pixels import from_bytes
from .plan import Batch, HiresPass, Txt2ImgPlan
from .prompt.editing import Timing
from .sample import Pass, sample
from .shown import is_inpainting, shown_nothing, shown_picture
from .steps import Decode, EncodeImage, Offload, Stepping, Use
from .upscalers import LATENT_UPSCALERS
from .watch import Watch

if TYPE_CHECKING:
    from models.families.base import ModelTraits


def second_pass(
    latents: Tensor,
    batch: Batch,
    plan: Txt2ImgPlan,
    hires: HiresPass,
    watch: Watch,
    effects: Effects,
) -> Stepping[Tensor]:
    """Latents of the enlarged pictures, on the model of the pass, which stays in use."""
    latent = isinstance(hires.upscaler, str) and hires.upscaler in LATENT_UPSCALERS
    if latent:
        enlarged = _enlarged(latents, hires)
    else:
        pixels = yield Decode(latents, plan.vae_methods.decode)
        bigger = yield Offload(partial(_enlarged_pixels, pixels, hires, watch))
    traits = yield Use(plan.wearing(hires.model, hires.networks, batch.start))
    effects.notes |= dict.fromkeys(traits.notes)
    if not latent:
        enlarged = yield EncodeImage(from_bytes(bigger), plan.vae_methods.encode)
    if not hires.denoising:
        return enlarged
    chosen = slice(batch.start, batch.start + plan.batch_size)
    ran = replace(hires.sampler, steps=hires.steps)
    old = plan.encoding.old_editing
    timing = Timing(
        steps=model_calls(plan.sampler if old else ran),
        earlier_steps=0 if old else model_calls(plan.sampler),
        earlier_shares=0.0 if old else 1.0,
        old=old,
    )
    texts = Texts(
        hires.prompts[chosen],
        hires.negative_prompts[chosen],
        width=enlarged.shape[3] * SCALE,
        height=enlarged.shape[2] * SCALE,
    )

    def guide(traits: "ModelTraits") -> Stepping[Guidance]:
        shown = yield from _shown(enlarged, plan, traits)
        calls = model_calls(ran)
        guidance = yield from encode_texts(texts, timing, calls, plan, traits, None)
        return replace(guidance, shown=shown)

    length = int(hires.steps / min(hires.denoising, 0.999))
    wanted = Pass(
        spec=replace(hires.sampler, steps=length),
        seeds=batch.seeds,
        width=texts.width,
        height=texts.height,
        latents=enlarged,
        last_steps=hires.steps,
        extra_noise=plan.extra_noise,
    )
    refiner = plan.refiner
    refines = refiner is not None and refiner.hires != "first pass"
    lead = Lead(guide=guide, refining=refiner if refines else None, number=1)
    return (yield from sample(wanted, lead, traits, watch, effects))


def _shown(enlarged: Tensor, plan: Txt2ImgPlan, traits: "ModelTraits") -> Stepping[Tensor | None]:
    """What an inpainting model is shown: the first pass's picture, as far as it is not hidden."""
    weight, methods = plan.guidance.mask_weight, plan.vae_methods
    if weight == 1 or not is_inpainting(traits):
        height, width = enlarged.shape[2] * SCALE, enlarged.shape[3] * SCALE
        return (yield from shown_nothing(width, height, methods.encode, traits))
    pixels = yield Decode(enlarged, methods.decode)
    return (yield from shown_picture(from_bytes(pixels), None, weight, methods.encode, traits))


def _enlarged_pixels(
    pixels: NDArray[np.uint8], hires: HiresPass, watch: Watch
) -> NDArray[np.uint8]:
    """The first pass's pictures at the target size. Raises `Stopped` when the job is to stop."""
    upscaler, size = hires.upscaler, (hires.width, hires.height)
    if not isinstance(upscaler, str):
        upscaler = _stoppable(upscaler, watch)
    images = (resized(Image.fromarray(each), STRETCH, *size, upscaler) for each in pixels)
    return np.stack([np.asarray(image) for image in images])


def _stoppable(
    model: Callable[[Image.Image, Tick], Image.Image], watch: Watch
) -> Callable[[Image.Image, Tick], Image.Image]:
    """The model, which looks at every tile whether the job is to stop."""

    def look(share: float) -> None:
        if watch.stopping or watch.cancelled:
            raise Stopped

    return lambda image, tick: model(image, look)


def _enlarged(latents: Tensor, hires: HiresPass) -> Tensor:
    assert isinstance(hires.upscaler, str)
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
