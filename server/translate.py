"""Request, options and catalog become a plan; every default and alias of the wire lives here.

Pure but for the dice (`random`), and torch-free: every mistake of a client is found here, before
anything is queued.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast, get_args

from models.catalog import Catalog, CheckpointInfo
from pipelines.plan import Emphasis, Encoding, NoiseSource, SamplerSpec, Seeds, Txt2ImgPlan
from pipelines.prompt.networks import split_networks
from pipelines.samplers import SAMPLERS, Sampler
from pipelines.schedules import SCHEDULES, Schedule

from .errors import ApiError
from .options import Options
from .schemas.txt2img import Txt2ImgRequest

AUTOMATIC = SCHEDULES[0]
_LARGEST_RANDOM_SEED = 4294967293
_COMMENT_LINE = re.compile(r"(?:^|\n)#[^\n]*(?:\n|$)")
_COMMENT = re.compile(r"#[^\n]*")
#: values by which clients say that a name is not set; the last is Swagger's placeholder
_UNSET = ("", "None", "none", "string")
#: what the reference's old Karras schedule ranged over
_OLD_KARRAS = (0.1, 10.0)
#: samplers of the reference that are not offered yet: refused, since another would draw another
#: picture without a word
_NOT_OFFERED = frozenset(
    """DPM++ 2S a, DPM++ 3M SDE, LMS, DPM2, DPM2 a, DPM fast,
    DPM adaptive, Restart, DDIM CFG++, PLMS, UniPC, LCM""".replace("\n   ", "").split(", ")
)


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


def txt2img(request: Txt2ImgRequest, options: Options, catalog: Catalog) -> Translated:
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
    prompts = (_prompt(request.prompt, options),) * count
    negative_prompts = (_prompt(request.negative_prompt, options),) * count
    encoding = _encoding(options, prompts[0] + negative_prompts[0], extra)
    spec = _sampler_spec(request, options, sampler, schedule, extra)
    plan = Txt2ImgPlan(
        checkpoint=checkpoint,
        prompts=prompts,
        negative_prompts=negative_prompts,
        seeds=_seeds(request, options, count),
        sampler=spec,
        encoding=encoding,
        cfg_scale=request.cfg_scale,
        width=request.width,
        height=request.height,
        batch_size=request.batch_size,
    )
    return Translated(
        plan=plan,
        options=options,
        schedule_label=schedule.label,
        extra=MappingProxyType(extra),
        warnings=warnings + missed + guessed + _unheeded(request, options, prompts[0]),
    )


def resolve_sampler(name: str, scheduler: str | None) -> tuple[Sampler, Schedule, tuple[str, ...]]:
    """The sampler and schedule that a client's two names mean, and warnings about guesses.

    As the reference has it: a schedule's name at the end of the sampler's wins over `scheduler`, an
    unknown schedule is Automatic, an unknown sampler the first one, and the sampler's own default
    schedule counts as Automatic. Raises `ApiError` for a sampler that is known but not offered.
    """
    schedule = next((s for s in SCHEDULES if scheduler in (s.name, s.label)), AUTOMATIC)
    for word, each in _SCHEDULE_WORDS:
        if name.endswith(f" {word}"):
            name, schedule = name.removesuffix(f" {word}"), each
            break
    if name in _NOT_OFFERED:
        offered = ", ".join(s.name for s in SAMPLERS)
        raise ApiError(400, f"Sampler not found: {name!r} is not offered yet; allowed: {offered}")
    sampler = next((s for s in SAMPLERS if s.name == name), None)
    warnings: tuple[str, ...] = ()
    if sampler is None:
        sampler = SAMPLERS[0]
        warnings = (f"unknown sampler {name!r}: used {sampler.name}",)
    if schedule.name == sampler.default_schedule:
        schedule = AUTOMATIC
    return sampler, schedule, warnings


def _refuse_unsupported(request: Txt2ImgRequest, options: Options) -> None:
    """Answer 501 for what would draw another picture if it were ignored."""
    asked = {
        "enable_hr": request.enable_hr,
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
    uncond = options.s_min_uncond if request.s_min_uncond is None else request.s_min_uncond
    editing = _EDITING.search(split_networks(prompt)[0])
    asked = {
        "restore_faces: no face restorer is installed": restore,
        "s_min_uncond is not supported yet": uncond > 0,
        "styles are not supported yet": any(s not in _UNSET for s in request.styles or []),
        "save_images is not supported yet": request.save_images,
        "prompt scheduling, alternation and AND are not supported yet": bool(editing),
    }
    lost = (f"{tag.kind} not found: {tag.name}" for tag in split_networks(prompt)[1])
    return (*(warning for warning, wanted in asked.items() if wanted), *lost)


#: `[a:b:3]`, `[a|b]`, `a AND b`
_EDITING = re.compile(r"\[[^\[\]]*(?::[^\[\]:]*:|:\s*[\d.]+\s*\]|\|)|\bAND\b")
#: what may follow a sampler's name; longest first, so that "SGM Uniform" is not read as "Uniform"
_SCHEDULE_WORDS: tuple[tuple[str, Schedule], ...] = tuple(
    sorted(
        ((word, each) for each in SCHEDULES for word in (each.label, each.name, *each.aliases)),
        key=lambda pair: -len(pair[0]),
    )
)
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


def _prompt(text: str, options: Options) -> str:
    if not options.enable_prompt_comments:
        return text
    return _COMMENT.sub("", _COMMENT_LINE.sub("\n", text))


def _encoding(options: Options, texts: str, extra: dict[str, object]) -> Encoding:
    known = options.emphasis in get_args(Emphasis)
    emphasis = cast(Emphasis, options.emphasis if known else "Original")
    if emphasis != "Original" and re.search(r"[(\[]", texts):
        extra["Emphasis"] = emphasis
    return Encoding(
        clip_skip=max(options.CLIP_stop_at_last_layers, 1),
        emphasis=emphasis,
        comma_backtrack=options.comma_padding_backtrack,
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


def _sampler_spec(
    request: Txt2ImgRequest,
    options: Options,
    sampler: Sampler,
    schedule: Schedule,
    extra: dict[str, object],
) -> SamplerSpec:
    """The sampler's numbers; those that a reader needs to draw the picture again go to `extra`."""
    automatic = schedule is AUTOMATIC
    used = (sampler.default_schedule or AUTOMATIC.name) if automatic else schedule.name
    noised = _churn(request, options, sampler)
    if sampler.on_timesteps:
        used = AUTOMATIC.name
    discard = sampler.discards_penultimate
    ranged: dict[str, float] = {}
    if not sampler.on_timesteps:
        if options.always_discard_next_to_last_sigma and not discard:
            extra["Discard penultimate sigma"] = discard = True
        ranged = _range(options, used, extra)
        if options.sgm_noise_multiplier:
            extra["SGM noise multiplier"] = True
    eta = _eta(request, options, sampler, extra)
    for name in noised:
        if getattr(options, name) != getattr(Options.defaults(), name):
            extra[_CHURN_LABELS[name]] = getattr(options, name)
    return SamplerSpec(
        name=sampler.name,
        schedule=used,
        steps=request.steps,
        eta=eta,
        **noised,
        **ranged,
        discard_penultimate=discard,
        sgm_noise_multiplier=options.sgm_noise_multiplier and not sampler.on_timesteps,
    )


def _range(options: Options, used: str, extra: dict[str, object]) -> dict[str, float]:
    """The ends and the shape of the schedule where a setting changes them."""
    if used == AUTOMATIC.name:
        return {}
    schedule = next(s for s in SCHEDULES if s.name == used)
    extra["Schedule type"] = schedule.label
    low, high, rho = options.sigma_min, options.sigma_max, options.rho
    if used == "karras" and options.use_old_karras_scheduler_sigmas:
        return {"sigma_min": _OLD_KARRAS[0], "sigma_max": _OLD_KARRAS[1], "rho": rho}
    if low:
        extra["Schedule min sigma"] = low
    if high:
        extra["Schedule max sigma"] = high
    if rho and schedule.default_rho > 0:
        extra["Schedule rho"] = rho
    ranged = {"sigma_min": low, "sigma_max": high, "rho": rho}
    if used == "beta":
        ranged["beta_alpha"] = extra["Beta schedule alpha"] = options.beta_dist_alpha
        ranged["beta_beta"] = extra["Beta schedule beta"] = options.beta_dist_beta
    return ranged


def _eta(
    request: Txt2ImgRequest, options: Options, sampler: Sampler, extra: dict[str, object]
) -> float:
    if "eta" not in sampler.takes:
        return 0.0
    label, setting, default = (
        ("Eta DDIM", options.eta_ddim, 0.0)
        if sampler.on_timesteps
        else ("Eta", options.eta_ancestral, 1.0)
    )
    eta = setting if request.eta is None else request.eta
    if eta < 0:
        raise ApiError(422, f"eta {eta}: allowed are 0 and more")
    if eta != default:
        extra[label] = eta
    return eta


_CHURN_LABELS: Mapping[str, str] = MappingProxyType(
    {
        "s_churn": "Sigma churn",
        "s_tmin": "Sigma tmin",
        "s_tmax": "Sigma tmax",
        "s_noise": "Sigma noise",
    }
)


def _churn(request: Txt2ImgRequest, options: Options, sampler: Sampler) -> dict[str, float]:
    """Churn and noise numbers: the request's, unless the setting differs from its default."""
    chosen: dict[str, float] = {}
    for name in (each for each in _CHURN_LABELS if each in sampler.takes):
        setting, default = getattr(options, name), getattr(Options.defaults(), name)
        asked = getattr(request, name)
        chosen[name] = setting if setting != default or asked is None else asked
    if "s_tmax" in chosen:
        chosen["s_tmax"] = chosen["s_tmax"] or float("inf")
    return chosen
