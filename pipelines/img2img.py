"""Pictures from pictures: encode, noise part of the way, sample the rest."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from .blend import Blend
from .effects import Effects
from .encode import Texts, encode_texts, model_calls
from .guidance import Guidance
from .guided import Lead
from .inversion import found_noise
from .noise import SCALE, BatchNoise
from .pixels import from_bytes
from .plan import Batch, GuidanceSpec, Img2ImgPlan, Inversion, Seeds
from .prompt.editing import Timing
from .sample import Pass, sample
from .shown import is_edit, shown_picture
from .steps import EncodeImage, Stepping
from .watch import Watch

if TYPE_CHECKING:
    from models.families.base import ModelTraits

#: the largest share of a schedule that is run; all of it would leave nothing of the picture
_MOST = 0.999


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Start:
    """The latents [n,C,h,w] that every batch begins with, n being 1 or a batch's size."""

    latents: Tensor
    mask: Tensor | None


def encode_start(plan: Img2ImgPlan, traits: "ModelTraits") -> Stepping[Start]:
    """The init pictures as latents, filled where they are masked."""
    init = plan.init
    pixels = from_bytes(init.pixels)
    latents: Tensor = yield EncodeImage(pixels, plan.vae_methods.encode)
    if init.resize_latents:
        size = plan.height // SCALE, plan.width // SCALE
        latents = functional.interpolate(latents, size=size, mode="bilinear")
    inpainting = init.inpainting
    if inpainting is None:
        return Start(latents=latents, mask=None)
    mask = torch.from_numpy(inpainting.latents).to(latents)[None, None]
    if inpainting.fill == "noise":
        seeds = Seeds(
            seeds=plan.seeds.seeds[: plan.batch_size],
            subseeds=plan.seeds.seeds[: plan.batch_size],
            source=plan.seeds.source,
        )
        _, channels, height, width = latents.shape
        noise = BatchNoise(seeds, (channels, height, width), traits.device, ()).first()
        latents = latents * (1 - mask) + noise * mask
    elif inpainting.fill == "nothing":
        latents = latents * (1 - mask)
    return Start(latents=latents, mask=mask)


def redraw(
    start: Start,
    batch: Batch,
    plan: Img2ImgPlan,
    traits: "ModelTraits",
    watch: Watch,
    effects: Effects,
) -> Stepping[Tensor]:
    """The latents of a batch: those of `start` noised and sampled again."""
    length, last_steps = _steps(plan)
    count = len(batch.prompts)
    begun = start.latents[:count].expand(count, -1, -1, -1)
    if not length:
        return begun
    blend, inpainting = None, plan.init.inpainting
    if start.mask is not None and inpainting is not None:
        blend = Blend(init=begun, mask=start.mask, soft=inpainting.soft)
    calls = model_calls(replace(plan.sampler, steps=last_steps))
    timing = Timing(steps=model_calls(plan.sampler), old=plan.encoding.old_editing)
    texts = Texts(
        batch.prompts,
        batch.negative_prompts,
        width=begun.shape[3] * SCALE,
        height=begun.shape[2] * SCALE,
    )

    def guide(traits: "ModelTraits") -> Stepping[Guidance]:
        shown = yield from _shown(plan, count, traits)
        guidance = yield from encode_texts(texts, timing, calls, plan, traits, effects)
        scale = plan.guidance.image_scale if is_edit(traits) else None
        return replace(guidance, shown=shown, image_scale=None if scale == 1 else scale)

    noise = None
    if plan.inversion is not None:
        noise = yield from _inverted(begun, batch, plan, plan.inversion, traits, watch)
    wanted = Pass(
        spec=replace(plan.sampler, steps=length),
        seeds=batch.seeds,
        width=texts.width,
        height=texts.height,
        latents=begun,
        last_steps=last_steps,
        noise_multiplier=plan.noise_multiplier,
        extra_noise=plan.extra_noise,
        blend=blend,
        noise=noise,
    )
    return (
        yield from sample(wanted, Lead(guide=guide, refining=plan.refiner), traits, watch, effects)
    )


def _inverted(
    begun: Tensor,
    batch: Batch,
    plan: Img2ImgPlan,
    inversion: Inversion,
    traits: "ModelTraits",
    watch: Watch,
) -> Stepping[Tensor]:
    """The noise behind the init pictures; they must have been drawn by `inversion`'s prompts."""
    channels, height, width = begun.shape[1:]
    shape = (channels, height, width)
    fresh = BatchNoise(batch.seeds, shape, traits.device, ()).first()
    count = len(batch.prompts)
    texts = Texts(
        (inversion.prompt,) * count,
        (inversion.negative_prompt,) * count,
        width=width * SCALE,
        height=height * SCALE,
    )
    timing = Timing(steps=inversion.steps, old=plan.encoding.old_editing)
    shown = yield from _shown(plan, count, traits)
    plain = replace(plan, guidance=GuidanceSpec(scale=inversion.scale))
    guidance = yield from encode_texts(texts, timing, inversion.steps, plain, traits, None)
    guidance, rule = replace(guidance, shown=shown), plan.sampler.tables
    return (yield from found_noise(begun, fresh, inversion, rule, guidance, traits, watch))


def _steps(plan: Img2ImgPlan) -> tuple[int, int]:
    """The length of the schedule (0: there is nothing to run), and how many steps of its end."""
    steps, share = plan.sampler.steps, min(max(plan.denoising, 0.0), _MOST)
    if not plan.fix_steps:
        return steps, int(share * steps) + 1
    return int(steps / share) if share else 0, steps


def _shown(plan: Img2ImgPlan, count: int, traits: "ModelTraits") -> Stepping[Tensor | None]:
    """What a batch of `count` images shows the model; a last batch may have fewer than others."""
    init = plan.init
    mask = None
    if init.inpainting is not None:
        mask = torch.from_numpy(init.inpainting.conditioning)[None, None]
    pixels = from_bytes(init.pixels[:count])
    weight, method = plan.guidance.mask_weight, plan.vae_methods.encode
    shown = yield from shown_picture(pixels, mask, weight, method, traits)
    size = plan.height // SCALE, plan.width // SCALE
    if shown is not None and shown.shape[-2:] != size:
        shown = functional.interpolate(shown, size=size)
    return shown
