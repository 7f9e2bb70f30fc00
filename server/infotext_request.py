"""A request's `infotext`: what a picture was made with fills what the request leaves open."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import ValidationError

from . import infotext
from .imagecodec import MAX_INFOTEXT
from .infotext_styles import STYLES
from .options import BadOption, Options
from .sampling import AUTOMATIC, resolve_sampler
from .schemas.generation import GenerationRequest
from .styles import Style

Fields = Mapping[str, object]
Request = TypeVar("Request", bound=GenerationRequest)

_SAME_SAMPLER, _SAME_SCHEDULER = "Use same sampler", "Use same scheduler"
_MODEL_HASH = "Model hash"

SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "Face restoration": "face_restoration",
        _MODEL_HASH: "sd_model_checkpoint",
        "VAE": "sd_vae",
        "VAE Encoder": "sd_vae_encode_method",
        "VAE Decoder": "sd_vae_decode_method",
        "Conditional mask weight": "inpainting_mask_weight",
        "Noise multiplier": "initial_noise_multiplier",
        "Extra noise": "img2img_extra_noise",
        "Emphasis": "emphasis",
        "Clip skip": "CLIP_stop_at_last_layers",
        "RNG": "randn_source",
        "Tiling": "tiling",
        "Hires refiner": "hires_fix_refiner_pass",
        "NGMS": "s_min_uncond",
        "NGMS all steps": "s_min_uncond_all",
        "Token merging ratio": "token_merging_ratio",
        "Token merging ratio hr": "token_merging_ratio_hr",
        "Pad conds": "pad_cond_uncond",
        "Pad conds v0": "pad_cond_uncond_v0",
        "FP8 weight": "fp8_storage",
        "Cache FP16 weight for LoRA": "cache_fp16_weight",
        "Eta DDIM": "eta_ddim",
        "Eta": "eta_ancestral",
        "Sigma churn": "s_churn",
        "Sigma tmin": "s_tmin",
        "Sigma tmax": "s_tmax",
        "Sigma noise": "s_noise",
        "Schedule min sigma": "sigma_min",
        "Schedule max sigma": "sigma_max",
        "Schedule rho": "rho",
        "ENSD": "eta_noise_seed_delta",
        "Discard penultimate sigma": "always_discard_next_to_last_sigma",
        "SGM noise multiplier": "sgm_noise_multiplier",
        "UniPC variant": "uni_pc_variant",
        "UniPC skip type": "uni_pc_skip_type",
        "UniPC order": "uni_pc_order",
        "UniPC lower order final": "uni_pc_lower_order_final",
        "Noise Schedule": "sd_noise_schedule",
        "Skip Early CFG": "skip_early_cond",
        "Beta schedule alpha": "beta_dist_alpha",
        "Beta schedule beta": "beta_dist_beta",
        "Old prompt editing timelines": "use_old_scheduling",
        "Downcast alphas_cumprod": "use_downcasted_alpha_bar",
        "Refiner switch by sampling steps": "refiner_switch_by_sample_steps",
    }
)
"""An infotext's label -> the setting that it tells."""


def _labelled(label: str) -> Callable[[Fields], object]:
    return lambda fields: fields.get(label)


def _sampler(fields: Fields) -> tuple[str, str]:
    """The names of the sampler and the schedule; the first sampler where none is told."""
    name, scheduler = fields.get("Sampler"), fields.get("Schedule type")
    return _resolved(str(name or ""), str(scheduler or ""))


def _hires_sampler(fields: Fields) -> tuple[str, str]:
    """The same of the hires pass; what is the first pass's is told to be the same."""
    own, own_scheduler = fields.get("Hires sampler"), fields.get("Hires schedule type")
    first, first_scheduler = fields.get("Sampler"), fields.get("Schedule type")
    sampler, scheduler = _resolved(
        str((first if own in (None, _SAME_SAMPLER) else own) or ""),
        str((first_scheduler if own_scheduler in (None, _SAME_SCHEDULER) else own_scheduler) or ""),
    )
    return (
        _SAME_SAMPLER if sampler == first else sampler,
        _SAME_SCHEDULER if scheduler == first_scheduler else scheduler,
    )


def _resolved(name: str, scheduler: str) -> tuple[str, str]:
    sampler, schedule, _ = resolve_sampler(name, scheduler or AUTOMATIC.label)
    return sampler.name, schedule.label


def _hires(fields: Fields) -> bool:
    """Whether a picture had a second pass.

    The reference takes any denoising strength for one; versions before 1.6 told one of 0 always.
    """
    told = fields.get("Denoising strength")
    named = fields.get("Hires upscale") or fields.get("Hires upscaler")
    return told is not None and (told not in ("0", "0.0") or named is not None)


_UNMASKED: Mapping[str, str] = MappingProxyType(
    {
        "Mask mode": "Inpaint masked",
        "Masked content": "original",
        "Inpaint area": "Whole picture",
    }
)
"""What the parser puts for fields of inpainting that an infotext does not tell."""


def _when_masked(label: str, meanings: Mapping[str, object]) -> Callable[[Fields], object]:
    """A field of inpainting, which has a meaning only where there was a mask."""

    def read(fields: Fields) -> object:
        if "Mask blur" not in fields and _UNMASKED.items() <= fields.items():
            return None
        value = fields.get(label)
        return meanings.get(str(value)) if meanings else value

    return read


FIELDS: Mapping[str, Callable[[Fields], object]] = MappingProxyType(
    {
        "prompt": _labelled("Prompt"),
        "negative_prompt": _labelled("Negative prompt"),
        "styles": _labelled(STYLES),
        "seed": _labelled("Seed"),
        "subseed": _labelled("Variation seed"),
        "subseed_strength": _labelled("Variation seed strength"),
        "seed_resize_from_w": _labelled("Seed resize from-1"),
        "seed_resize_from_h": _labelled("Seed resize from-2"),
        "sampler_name": lambda fields: _sampler(fields)[0],
        "scheduler": lambda fields: _sampler(fields)[1],
        "batch_size": _labelled("Batch size"),
        "steps": _labelled("Steps"),
        "cfg_scale": _labelled("CFG scale"),
        "width": _labelled("Size-1"),
        "height": _labelled("Size-2"),
        "denoising_strength": _labelled("Denoising strength"),
        "refiner_checkpoint": _labelled("Refiner"),
        "refiner_switch_at": _labelled("Refiner switch at"),
        "enable_hr": _hires,
        "hr_scale": _labelled("Hires upscale"),
        "hr_upscaler": _labelled("Hires upscaler"),
        "hr_second_pass_steps": _labelled("Hires steps"),
        "hr_resize_x": _labelled("Hires resize-1"),
        "hr_resize_y": _labelled("Hires resize-2"),
        "hr_checkpoint_name": _labelled("Hires checkpoint"),
        "hr_sampler_name": lambda fields: _hires_sampler(fields)[0],
        "hr_scheduler": lambda fields: _hires_sampler(fields)[1],
        "hr_prompt": _labelled("Hires prompt"),
        "hr_negative_prompt": _labelled("Hires negative prompt"),
        "image_cfg_scale": _labelled("Image CFG scale"),
        "mask_blur": _when_masked("Mask blur", {}),
        "inpainting_mask_invert": _when_masked(
            "Mask mode", {"Inpaint masked": 0, "Inpaint not masked": 1}
        ),
        "inpainting_fill": _when_masked(
            "Masked content", {"fill": 0, "original": 1, "latent noise": 2, "latent nothing": 3}
        ),
        "inpaint_full_res": _when_masked(
            "Inpaint area", {"Whole picture": False, "Only masked": True}
        ),
        "inpaint_full_res_padding": _when_masked("Masked area padding", {}),
    }
)
"""A request's field -> how it is read from an infotext; None where the infotext does not tell."""


def filled(
    request: Request,
    options: Options,
    styles: Mapping[str, Style],
    network_name: Callable[[str], str | None] = lambda short_hash: None,
) -> tuple[Request, tuple[str, ...]]:
    """The request with its infotext's values in the fields it leaves open, and what had no place.

    `override_settings` is given the settings that the infotext tells and that are not the server's
    `options` now; `network_name` is the name of the network of a short hash. Reads any infotext: a
    value that a field cannot have is left out.
    """
    if not request.infotext:
        return request, ()
    if len(request.infotext) > MAX_INFOTEXT:
        return request, (f"infotext ignored: it has more than {MAX_INFOTEXT} characters",)
    fields = infotext.parse(request.infotext, styles, options.extra["infotext_styles"])
    fields = infotext.renamed_networks(fields, network_name)
    skipped = frozenset(options.extra["infotext_skip_pasting"])
    fields = {label: value for label, value in fields.items() if label not in skipped}
    told = {
        name: value
        for name, read in FIELDS.items()
        if name in type(request).model_fields
        and name not in request.sent
        and (value := read(fields)) is not None
    }
    asked = request.override_settings or {}
    settings = dict(_settings(fields, options))
    return _with(request, told, {**settings, **asked})


def _settings(fields: Fields, options: Options) -> Iterator[tuple[str, Any]]:
    """The settings that an infotext tells, where they differ from the current ones."""
    for label, key in SETTINGS.items():
        value = fields.get(label)
        if value is None or (label == _MODEL_HASH and options.disable_weights_auto_swap):
            continue
        current = _value(options, key)
        if isinstance(current, bool):
            value = str(value) != "False"
        try:
            changed, _ = options.with_overrides({key: value})
        except BadOption:
            continue
        if _value(changed, key) != current:
            yield key, _value(changed, key)


def _value(options: Options, key: str) -> Any:
    return options.extra[key] if key in options.extra else getattr(options, key)


def _with(
    request: Request, told: dict[str, object], settings: dict[str, Any]
) -> tuple[Request, tuple[str, ...]]:
    """The request with these values; those that make it invalid are left out."""
    sent = request.sent | {"override_settings": settings}
    refused: list[str] = []
    while told:
        try:
            return type(request).model_validate(sent | told), _warnings(refused)
        except ValidationError as error:
            places = {str(each["loc"][0]) for each in error.errors() if each["loc"]}
            # a limit that two fields share names only one of them
            wrong = (places & told.keys()) or told.keys()
            refused += sorted(wrong)
            told = {name: value for name, value in told.items() if name not in wrong}
    return type(request).model_validate(sent), _warnings(refused)


def _warnings(refused: list[str]) -> tuple[str, ...]:
    return tuple(f"the infotext's {name} is not allowed and ignored" for name in refused)
