"""Request, options and files become a plan; every default and alias of the wire lives here.

Pure but for the dice (`random`), and torch-free: every mistake of a client is found here, before
anything is submitted.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, cast, get_args

from PIL import Image

from models.library import Library
from pipelines.pictures.prepared import Prepared
from pipelines.plan import (
    Emphasis,
    Encoding,
    GuidanceSpec,
    Img2ImgPlan,
    NoiseSource,
    Plan,
    Seeds,
    Txt2ImgPlan,
)
from pipelines.prompt.networks import lora_hashes

from .choosing import merging, model_choice, refining, told_ignored, with_default_lora
from .hires import hires_pass, hires_warnings
from .img2img import InitPictures, img2img_asked
from .options import Options
from .prompts import prompts
from .sampling import resolve_sampler, sampler_spec
from .schemas.generation import GenerationRequest
from .schemas.img2img import Img2ImgRequest
from .schemas.txt2img import Txt2ImgRequest
from .styles import Style
from .tools import PLAIN, Tools
from .vae_methods import vae_methods
from .wardrobe import Wardrobe

_LARGEST_RANDOM_SEED = 4294967293
#: how the names of a sampler's own numbers begin, among the extra parameters
_OF_SAMPLER = ("Eta", "Sigma ")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Translated:
    """A plan, and what its reply has to say about it.

    The infotext's extra parameters in the order of the wire are `first`, what the generation found
    out about its prompts, `extra`, and what else it did. `init` is what finishing an img2img
    picture needs; `originals` are the init pictures to save, by MD5, and `init_hash` is told.
    `warnings` name what was asked for and could not be honoured.
    """

    plan: Plan
    options: Options
    schedule_label: str
    first: Mapping[str, object]
    extra: Mapping[str, object]
    restore_faces: bool
    warnings: tuple[str, ...]
    init: Prepared | None = None
    originals: Mapping[str, Image.Image] = field(default_factory=dict)
    init_hash: str | None = None


def txt2img(
    request: Txt2ImgRequest,
    options: Options,
    library: Library,
    styles: Mapping[str, Style] = MappingProxyType({}),
    wardrobe: Wardrobe | None = None,
    tools: Tools = PLAIN,
) -> Translated:
    """The plan of a txt2img request under `options` (its overrides included).

    A script hands the `wardrobe` of its request from generation to generation. Among `tools` are
    the upscalers that may be named.

    Raises `ApiError` for what cannot be done at all.
    """
    overridden, ignored = options.with_overrides(request.override_settings or {})
    wardrobe = wardrobe or Wardrobe(library.networks)
    common = _common(request, overridden, options, library, styles, request.batch_size, wardrobe)
    unknown = told_ignored(ignored, strict=overridden.darkroom_strict_overrides)
    common = replace(common, warnings=unknown + common.warnings + hires_warnings(request))
    width, height = _first_size(request)
    plan = Txt2ImgPlan(**common.fields, width=width, height=height, batch_size=request.batch_size)
    first: dict[str, object] = {}
    if request.enable_hr:
        upscalers = tools.under(overridden).upscalers
        hires = hires_pass(
            request, common.options, plan, library, styles, wardrobe, upscalers, first
        )
        plan = replace(plan, hires=hires)
    return _translated(common, plan, library, first, wardrobe)


def img2img(
    request: Img2ImgRequest,
    options: Options,
    library: Library,
    styles: Mapping[str, Style] = MappingProxyType({}),
    pictures: InitPictures | None = None,
    wardrobe: Wardrobe | None = None,
    tools: Tools = PLAIN,
) -> Translated:
    """The plan of an img2img request under `options` (its overrides included).

    `pictures` take the place of those in the request; `wardrobe` and `tools` as in `txt2img`.

    Raises `ApiError` for what cannot be done at all, and `BadImage` for pictures that are none.
    """
    overridden, ignored = options.with_overrides(request.override_settings or {})
    first: dict[str, object] = {}
    upscalers = tools.under(overridden).upscalers
    asked = img2img_asked(request, overridden, first, pictures, upscalers)
    wardrobe = wardrobe or Wardrobe(library.networks)
    common = _common(request, overridden, options, library, styles, asked.batch_size, wardrobe)
    unknown = told_ignored(ignored, strict=overridden.darkroom_strict_overrides)
    common = replace(common, warnings=unknown + asked.warnings + common.warnings)
    # the multiplier is one of noise at full scale, which a picture never begins at
    extra = {key: value for key, value in common.extra.items() if key != "SGM noise multiplier"}
    common = replace(common, extra=MappingProxyType(extra))
    if asked.noise_multiplier != 1:
        first["Noise multiplier"] = asked.noise_multiplier
    plan = Img2ImgPlan(
        **common.fields,
        width=request.width,
        height=request.height,
        batch_size=asked.batch_size,
        init=asked.init,
        denoising=asked.denoising,
        fix_steps=asked.fix_steps,
        noise_multiplier=asked.noise_multiplier,
    )
    return replace(
        _translated(common, plan, library, first, wardrobe),
        init=asked.init,
        originals=asked.originals,
        init_hash=asked.init_hash,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    """What both kinds of plan have; `fields` are those of `Plan` but for its sizes."""

    fields: Mapping[str, Any]
    options: Options
    schedule_label: str
    extra: Mapping[str, object]
    restore_faces: bool
    warnings: tuple[str, ...]


def _common(
    request: GenerationRequest,
    options: Options,
    configured: Options,
    library: Library,
    styles: Mapping[str, Style],
    batch_size: int,
    wardrobe: Wardrobe,
) -> _Common:
    """Under `options`, which are the `configured` ones with the request's overrides."""
    tiling = options.tiling if request.tiling is None else request.tiling
    model, missed = model_choice(
        options,
        configured,
        library,
        tiling=tiling,
        token_merging=merging(request, options),
        strict=options.darkroom_strict_overrides,
    )
    sampler, schedule, guessed = resolve_sampler(
        request.sampler_name or request.sampler_index,
        request.scheduler,
        old_names=options.darkroom_old_sampler_names,
    )
    texts = prompts(request, options, styles)
    texts = replace(texts, prompt=with_default_lora(texts.prompt, options, library))
    count = batch_size * request.n_iter
    networks = () if request.disable_extra_networks else (wardrobe.worn(texts.prompt).uses,) * count
    methods, without = vae_methods(options, library.approx)
    extra: dict[str, object] = {}
    fields: dict[str, Any] = {
        "model": model,
        "prompts": (texts.prompt,) * count,
        "negative_prompts": (texts.negative_prompt,) * count,
        "networks": networks,
        "seeds": _seeds(request, options, count),
        "encoding": _encoding(options),
        "sampler": sampler_spec(request, options, sampler, schedule, extra),
        "guidance": _guidance(request, options),
        "refiner": refining(request, options, model, library),
        "vae_methods": methods,
        "extra_noise": options.img2img_extra_noise,
    }
    restore = options.face_restoration if request.restore_faces is None else request.restore_faces
    return _Common(
        fields=MappingProxyType(fields),
        options=options,
        schedule_label=schedule.label,
        extra=MappingProxyType(extra),
        restore_faces=bool(restore),
        warnings=missed + guessed + without,
    )


def _translated(
    common: _Common,
    plan: Plan,
    library: Library,
    first: dict[str, object],
    wardrobe: Wardrobe,
) -> Translated:
    """The whole, with what is said of networks and of the VAE's methods."""
    options, prompts = common.options, _wearing(plan)
    if options.lora_add_hashes_to_infotext:
        passes = map(wardrobe.worn, prompts)
        if hashes := lora_hashes(passes, library.networks.hash):
            first["Lora hashes"] = hashes
    extra = dict(common.extra)
    if plan.extra_noise:
        extra = _with_extra_noise(extra, plan)
    return Translated(
        plan=plan,
        options=options,
        schedule_label=common.schedule_label,
        first=MappingProxyType(first),
        extra=MappingProxyType(extra),
        restore_faces=common.restore_faces,
        warnings=common.warnings + wardrobe.warnings(prompts),
    )


def _wearing(plan: Plan) -> tuple[str, ...]:
    """The prompts whose networks a plan puts on: that of each pass."""
    hires = plan.hires if isinstance(plan, Txt2ImgPlan) else None
    second = hires.prompts[:1] if hires is not None else ()
    return (*plan.prompts[:1], *second) if plan.networks else ()


def _with_extra_noise(extra: dict[str, object], plan: Plan) -> dict[str, object]:
    """`extra` with the noise told where the reference does: between schedule and sampler."""
    if isinstance(plan, Txt2ImgPlan):
        return extra | {"Extra noise": plan.extra_noise} if plan.hires else extra
    at = next((i for i, key in enumerate(extra) if key.startswith(_OF_SAMPLER)), len(extra))
    entries = list(extra.items())
    return dict([*entries[:at], ("Extra noise", plan.extra_noise), *entries[at:]])


def _encoding(options: Options) -> Encoding:
    known = options.emphasis in get_args(Emphasis)
    emphasis = cast(Emphasis, options.emphasis if known else "Original")
    return Encoding(
        clip_skip=max(options.CLIP_stop_at_last_layers, 1),
        emphasis=emphasis,
        comma_backtrack=options.comma_padding_backtrack,
        old_editing=options.use_old_scheduling,
        always_skip=options.sdxl_clip_l_skip,
        crop=(options.sdxl_crop_top, options.sdxl_crop_left),
        scores=(
            options.sdxl_refiner_low_aesthetic_score,
            options.sdxl_refiner_high_aesthetic_score,
        ),
    )


def _first_size(request: Txt2ImgRequest) -> tuple[int, int]:
    """The first pass's size; the old `firstphase_` fields name it for the hires fix."""
    named = request.firstphase_width, request.firstphase_height
    if request.enable_hr and any(named):
        return named[0] or request.width, named[1] or request.height
    return request.width, request.height


def _guidance(request: GenerationRequest, options: Options) -> GuidanceSpec:
    least = options.s_min_uncond if request.s_min_uncond is None else request.s_min_uncond
    return GuidanceSpec(
        scale=request.cfg_scale,
        s_min_uncond=least,
        s_min_uncond_all=options.s_min_uncond_all,
        skip_early=options.skip_early_cond,
        pad=options.pad_cond_uncond,
        match=options.pad_cond_uncond_v0,
        image_scale=request.image_cfg_scale if isinstance(request, Img2ImgRequest) else None,
        mask_weight=options.inpainting_mask_weight,
    )


def _seeds(request: GenerationRequest, options: Options, count: int) -> Seeds:
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
