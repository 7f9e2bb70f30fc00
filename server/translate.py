"""Request, options and catalog become a plan; every default and alias of the wire lives here.

Pure but for the dice (`random`), and torch-free: every mistake of a client is found here, before
anything is queued.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import cast, get_args

from models.catalog import Catalog, CheckpointInfo
from pipelines.plan import Emphasis, Encoding, GuidanceSpec, NoiseSource, Seeds, Txt2ImgPlan
from pipelines.prompt.networks import split_networks

from .errors import ApiError
from .hires import hires_pass
from .options import Options
from .sampling import resolve_sampler, sampler_spec
from .schemas.txt2img import Txt2ImgRequest
from .styles import Style, apply, chosen

_LARGEST_RANDOM_SEED = 4294967293
_COMMENT_LINE = re.compile(r"(?:^|\n)#[^\n]*(?:\n|$)")
_COMMENT = re.compile(r"#[^\n]*(?:\n|$)")
#: values by which clients say that a name is not set; the last is Swagger's placeholder
_UNSET = ("", "None", "none", "string")


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """A plan, and what its reply has to say about it.

    `extra` are the infotext's extra parameters in the order of the wire; `warnings` name what was
    asked for and could not be honoured.
    """

    plan: Txt2ImgPlan
    options: Options
    schedule_label: str
    extra: Mapping[str, object]
    warnings: tuple[str, ...]


def txt2img(
    request: Txt2ImgRequest,
    options: Options,
    catalog: Catalog,
    styles: Mapping[str, Style] = MappingProxyType({}),
) -> Translated:
    """The plan of a txt2img request under `options` (its overrides included).

    Raises `ApiError` for what cannot be done at all.
    """
    _refuse_unsupported(request, options)
    overridden, ignored = options.with_overrides(request.override_settings or {})
    warnings = tuple(f"unknown setting {key!r} ignored" for key in ignored)
    checkpoint, missed = _checkpoint(overridden, options, catalog)
    options = overridden
    sampler, schedule, guessed = resolve_sampler(
        request.sampler_name or request.sampler_index, request.scheduler
    )
    extra: dict[str, object] = {}
    count = request.batch_size * request.n_iter
    texts = _texts(request, options, styles)
    width, height = _first_size(request)
    plan = Txt2ImgPlan(
        checkpoint=checkpoint,
        prompts=(texts.prompt,) * count,
        negative_prompts=(texts.negative_prompt,) * count,
        seeds=_seeds(request, options, count),
        encoding=_encoding(options, texts.prompt + texts.negative_prompt, extra),
        sampler=sampler_spec(request, options, sampler, schedule, extra),
        guidance=_guidance(request, options, extra),
        width=width,
        height=height,
        batch_size=request.batch_size,
    )
    hires_extra: dict[str, object] = {}
    if request.enable_hr:
        own = texts.hires_prompt, texts.hires_negative_prompt
        plan = replace(plan, hires=hires_pass(request, options, plan, own, hires_extra))
    return Translated(
        plan=plan,
        options=options,
        schedule_label=schedule.label,
        extra=MappingProxyType({**hires_extra, **extra}),
        warnings=warnings + missed + guessed + _unheeded(request, options, texts.prompt),
    )


def _refuse_unsupported(request: Txt2ImgRequest, options: Options) -> None:
    """Answer 501 for what would draw another picture if it were ignored."""
    asked = {
        "tiling": options.tiling if request.tiling is None else request.tiling,
        "refiner_checkpoint": (request.refiner_checkpoint or "") not in _UNSET,
    }
    for field, wanted in asked.items():
        if wanted:
            raise ApiError(501, f"{field} is not supported yet by this version of Darkroom")
    if (request.script_name or "") not in _UNSET:
        raise ApiError(422, f"Script '{request.script_name}' not found")
    for title in request.alwayson_scripts:
        if title.casefold() not in _STOCK_SCRIPTS:
            raise ApiError(422, f"Script '{title}' not found; none is installed yet")


def _unheeded(request: Txt2ImgRequest, options: Options, prompt: str) -> tuple[str, ...]:
    """What was asked for and has no effect yet; unlike `_refuse_unsupported`, small things."""
    restore = options.face_restoration if request.restore_faces is None else request.restore_faces
    asked = {
        "restore_faces: no face restorer is installed": restore,
        "save_images is not supported yet": request.save_images,
    }
    lost = (f"{tag.kind} not found: {tag.name}" for tag in split_networks(prompt)[1])
    return (*(warning for warning, wanted in asked.items() if wanted), *lost)


#: always-on scripts of a stock webui: their arguments have no effect through the API there either
_STOCK_SCRIPTS = frozenset(
    {"sampler", "seed", "refiner", "comments", "extra options", "hypertile", "soft inpainting"}
)


def configured_checkpoint(options: Options, catalog: Catalog) -> CheckpointInfo | None:
    """The checkpoint that `options` name; the first there is where they name none that is there."""
    name = options.sd_model_checkpoint
    return (catalog.find(name) if name else None) or catalog.default()


def _checkpoint(
    overridden: Options, options: Options, catalog: Catalog
) -> tuple[CheckpointInfo, tuple[str, ...]]:
    """The checkpoint to draw with: the override's, else the server's own."""
    name = overridden.sd_model_checkpoint
    found = catalog.find(name) if name else None
    if found is not None:
        return found, ()
    fallback = configured_checkpoint(options, catalog)
    if fallback is None:
        raise ApiError(500, "no checkpoint: put a .safetensors file into models/Stable-diffusion")
    if not name:
        return fallback, ()
    return fallback, (f"unknown checkpoint {name!r}: used {fallback.title}",)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Texts:
    """A request's prompts with styles, without comments; "" where a hires prompt is not given."""

    prompt: str
    negative_prompt: str
    hires_prompt: str
    hires_negative_prompt: str


def _texts(request: Txt2ImgRequest, options: Options, styles: Mapping[str, Style]) -> _Texts:
    added = chosen(request.styles or (), styles)
    prompts = [style.prompt for style in added]
    negatives = [style.negative_prompt for style in added]
    hires, hires_negative = request.hr_prompt, request.hr_negative_prompt
    return _Texts(
        prompt=_prompt(request.prompt, prompts, options),
        negative_prompt=_prompt(request.negative_prompt, negatives, options),
        hires_prompt=hires and _prompt(hires, prompts, options),
        hires_negative_prompt=hires_negative and _prompt(hires_negative, negatives, options),
    )


def _prompt(text: str, styles: Sequence[str], options: Options) -> str:
    """A prompt with its styles, and without its comments."""
    text = apply(styles, text)
    if not options.enable_prompt_comments:
        return text
    return _COMMENT.sub("\n", _COMMENT_LINE.sub("\n", text))


def _encoding(options: Options, texts: str, extra: dict[str, object]) -> Encoding:
    known = options.emphasis in get_args(Emphasis)
    emphasis = cast(Emphasis, options.emphasis if known else "Original")
    if emphasis != "Original" and re.search(r"[(\[]", texts):
        extra["Emphasis"] = emphasis
    return Encoding(
        clip_skip=max(options.CLIP_stop_at_last_layers, 1),
        emphasis=emphasis,
        comma_backtrack=options.comma_padding_backtrack,
        old_editing=options.use_old_scheduling,
    )


def _first_size(request: Txt2ImgRequest) -> tuple[int, int]:
    """The first pass's size; the old `firstphase_` fields name it for the hires fix."""
    named = request.firstphase_width, request.firstphase_height
    if request.enable_hr and any(named):
        return named[0] or request.width, named[1] or request.height
    return request.width, request.height


def _guidance(request: Txt2ImgRequest, options: Options, extra: dict[str, object]) -> GuidanceSpec:
    least = options.s_min_uncond if request.s_min_uncond is None else request.s_min_uncond
    if options.skip_early_cond:
        extra["Skip Early CFG"] = options.skip_early_cond
    if least:
        extra["NGMS"] = least
        if options.s_min_uncond_all:
            extra["NGMS all steps"] = True
    if options.pad_cond_uncond:
        extra["Pad conds"] = True
    return GuidanceSpec(
        scale=request.cfg_scale,
        s_min_uncond=least,
        s_min_uncond_all=options.s_min_uncond_all,
        skip_early=options.skip_early_cond,
        pad=options.pad_cond_uncond,
    )


def _seeds(request: Txt2ImgRequest, options: Options, count: int) -> Seeds:
    first = request.seed if request.seed != -1 else random.randint(0, _LARGEST_RANDOM_SEED)
    second = request.subseed if request.subseed != -1 else random.randint(0, _LARGEST_RANDOM_SEED)
    step = 0 if request.subseed_strength else 1
    resized = request.seed_resize_from_w > 0 and request.seed_resize_from_h > 0
    source = options.randn_source if options.randn_source in get_args(NoiseSource) else "GPU"
    return Seeds(
        seeds=tuple(first + i * step for i in range(count)),
        subseeds=tuple(second + i for i in range(count)),
        subseed_strength=request.subseed_strength,
        resize_from=(request.seed_resize_from_w, request.seed_resize_from_h) if resized else None,
        source=cast(NoiseSource, source),
        eta_delta=options.eta_noise_seed_delta,
        brownian_per_image=not options.no_dpmpp_sde_batch_determinism,
    )
