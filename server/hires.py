"""The wire's hires fields become a `HiresPass`, and what infotexts say of it."""

from collections.abc import Mapping
from dataclasses import replace

from models.library import Library
from pipelines.pictures.upscale import Upscaler
from pipelines.plan import HiresPass, SamplerSpec, Txt2ImgPlan
from pipelines.upscalers import LATENT_UPSCALERS

from .choosing import merging, other_checkpoint
from .errors import ApiError
from .names import place_of
from .options import Options
from .prompts import hires_prompts
from .sampling import resolve_sampler, sampler_spec, schedule_label
from .schemas.limits import MAX_PIXELS
from .schemas.txt2img import Txt2ImgRequest
from .styles import Style
from .wardrobe import Wardrobe

_INHERIT = ("", "string", "Use same sampler", "Use same scheduler", "Use same checkpoint")
_DEFAULT_DENOISING = 0.75
_SMALLEST = 16
#: steps of the whole schedule whose end the second pass runs
_LONGEST_SCHEDULE = 100_000
#: openOutpaint's spelling of a latent upscaler
_SPELLINGS: Mapping[str, str] = {"Latent (bicubic, antialiased)": "Latent (bicubic antialiased)"}


def hires_pass(
    request: Txt2ImgRequest,
    options: Options,
    first: Txt2ImgPlan,
    library: Library,
    styles: Mapping[str, Style],
    wardrobe: Wardrobe,
    upscalers: Mapping[str, Upscaler],
    extra: dict[str, object],
) -> HiresPass:
    """The second pass after `first`; its infotext parameters go to `extra`, in the wire's order.

    `upscalers` are those of decoded pictures.

    Raises `ApiError` for an unknown upscaler or checkpoint.
    """
    denoising = request.denoising_strength
    denoising = _DEFAULT_DENOISING if denoising is None else max(denoising, 0.0)
    extra["Denoising strength"] = denoising
    model = replace(first.model, token_merging=merging(request, options, hires=True))
    named = request.hr_checkpoint_name or ""
    if named not in _INHERIT:
        model = other_checkpoint(named, model, options, library)
        extra["Hires checkpoint"] = model.checkpoint.short_title
    sampler = _sampler(request, options, first, extra)
    own = hires_prompts(request.hr_prompt, request.hr_negative_prompt, request, options, styles)
    extra["Hires prompt"] = extra["Hires negative prompt"] = None
    schedule = schedule_label(sampler)
    changed = schedule != schedule_label(first.sampler)
    extra["Hires schedule type"] = schedule if changed else None
    size, crop = _target(request, first, extra)
    steps = request.hr_second_pass_steps or first.sampler.steps
    _check(size, crop, steps, denoising)
    if request.hr_second_pass_steps:
        extra["Hires steps"] = request.hr_second_pass_steps
    if (request.hr_upscaler or "") not in _INHERIT:
        extra["Hires upscaler"] = request.hr_upscaler
    count = len(first.prompts)
    prompt = own.prompt or first.prompts[0]
    return HiresPass(
        width=size[0],
        height=size[1],
        crop=crop,
        upscaler=_upscaler(request.hr_upscaler, upscalers, library),
        denoising=denoising,
        steps=steps,
        sampler=sampler,
        prompts=(own.prompt,) * count if own.prompt else first.prompts,
        negative_prompts=(
            (own.negative_prompt,) * count if own.negative_prompt else first.negative_prompts
        ),
        model=model,
        networks=() if request.disable_extra_networks else (wardrobe.worn(prompt).uses,) * count,
        keep_first=request.save_images
        and options.samples_save
        and options.save_images_before_highres_fix,
    )


def hires_warnings(request: Txt2ImgRequest) -> tuple[str, ...]:
    """What a request asks of its second pass and does not get."""
    named = request.hr_sampler_name or ""
    if not request.enable_hr or named in _INHERIT:
        return ()
    *_, guesses = resolve_sampler(named, request.hr_scheduler)
    return tuple(f"hires pass: {guess}" for guess in guesses)


def _check(size: tuple[int, int], crop: tuple[int, int], steps: int, denoising: float) -> None:
    if min(*size, *crop) < _SMALLEST or size[0] * size[1] > MAX_PIXELS:
        raise ApiError(
            422,
            f"hires size {size[0]}x{size[1]}: allowed are sides from {_SMALLEST} and at most "
            f"{MAX_PIXELS} pixels",
        )
    if denoising and steps / denoising > _LONGEST_SCHEDULE:
        raise ApiError(
            422,
            f"denoising_strength {denoising}: its schedule of {steps / denoising:.0f} steps is too "
            f"long; allowed are at most {_LONGEST_SCHEDULE}, or 0",
        )


def _sampler(
    request: Txt2ImgRequest, options: Options, first: Txt2ImgPlan, extra: dict[str, object]
) -> SamplerSpec:
    named = request.hr_sampler_name or ""
    scheduled = request.hr_scheduler or ""
    if named in _INHERIT and scheduled in _INHERIT:
        return first.sampler
    sampler, schedule, _ = resolve_sampler(
        first.sampler.name if named in _INHERIT else named,
        (request.scheduler if scheduled in _INHERIT else scheduled),
        old_names=options.darkroom_old_sampler_names,
    )
    if named not in _INHERIT:
        extra["Hires sampler"] = sampler.name
    return replace(sampler_spec(request, options, sampler, schedule, {}), steps=first.sampler.steps)


def _target(
    request: Txt2ImgRequest, first: Txt2ImgPlan, extra: dict[str, object]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """The size to enlarge to and the size to keep of it, in pixels."""
    width, height = request.hr_resize_x, request.hr_resize_y
    if not width and not height:
        extra["Hires upscale"] = request.hr_scale
        grown = int(first.width * request.hr_scale), int(first.height * request.hr_scale)
        return grown, grown
    extra["Hires resize"] = f"{width}x{height}"
    if not height:
        grown = width, width * first.height // first.width
        return grown, grown
    if not width:
        grown = height * first.width // first.height, height
        return grown, grown
    if first.width * height < width * first.height:
        return (width, width * first.height // first.width), (width, height)
    return (height * first.width // first.height, height), (width, height)


def _upscaler(name: str | None, upscalers: Mapping[str, Upscaler], library: Library) -> Upscaler:
    named = name or ""
    wanted = "Latent" if named in _INHERIT else _SPELLINGS.get(named, named)
    if wanted in LATENT_UPSCALERS:
        return wanted
    if wanted in upscalers:
        return upscalers[wanted]
    fault = f"could not find upscaler named {name}"
    told = [f"{fault}; known: {', '.join((*LATENT_UPSCALERS, *upscalers))}"]
    if where := place_of(named, library):
        told.append(where)
    raise ApiError(500, "; ".join(told), error="Exception", errors=fault)
