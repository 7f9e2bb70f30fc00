"""The settings clients read and write: a frozen value, and the store behind config.json."""

import json
import os
from asyncio import Lock as AsyncLock
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any, Self

import structlog
from pydantic_core import PydanticCustomError

from .option_rules import DERIVED, FrozenOption, Rules
from .option_table import defaults
from .schemas.lax import at_most, to_bool, to_float, to_int, to_list, to_str

_log = structlog.get_logger(__name__)

_LONGEST_TEXT = 65_536
_LONGEST_LIST = 10_000
_NOT_SETTINGS = ("extra", "rules")


class BadOption(ValueError):
    """A setting was given a value of the wrong type."""

    def __init__(self, key: str, value: object, allowed: str) -> None:
        self.key = key
        self.value = value
        self.allowed = allowed
        super().__init__(f"option {key!r} cannot be {_shown(value)}: {allowed}")


class BadConfig(ValueError):
    """config.json cannot be read as settings."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is not a settings file: {reason}; mend it or move it away")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Every setting of the wire. A field here is one the house reads; the rest are in `extra`.

    `rules` say what a client may change.
    """

    samples_save: bool
    samples_format: str
    samples_filename_pattern: str
    save_images_add_number: bool
    save_images_replace_action: str
    grid_save: bool
    grid_format: str
    grid_extended_filename: bool
    grid_only_if_multiple: bool
    save_images_before_face_restoration: bool
    save_images_before_highres_fix: bool
    save_images_before_color_correction: bool
    save_mask: bool
    save_mask_composite: bool
    export_for_4chan: bool
    img_downscale_threshold: float
    target_side_length: int
    img_max_size_mp: int
    save_incomplete_images: bool
    save_txt: bool
    outdir_txt2img_samples: str
    outdir_img2img_samples: str
    outdir_txt2img_grids: str
    outdir_img2img_grids: str
    outdir_init_images: str
    save_to_dirs: bool
    grid_save_to_dirs: bool
    directories_filename_pattern: str
    directories_max_prompt_words: int
    return_grid: bool
    jpeg_quality: int
    webp_lossless: bool
    enable_pnginfo: bool
    add_model_name_to_info: bool
    add_model_hash_to_info: bool
    add_vae_name_to_info: bool
    add_vae_hash_to_info: bool
    add_user_name_to_info: bool
    add_version_to_infotext: bool

    sd_model_checkpoint: str | None
    sd_checkpoint_hash: str
    sd_checkpoints_limit: int
    sd_checkpoints_keep_in_cpu: bool
    sd_vae: str
    sd_vae_overrides_per_model_preferences: bool
    sd_vae_encode_method: str
    sd_vae_decode_method: str
    auto_vae_precision: bool
    auto_vae_precision_bfloat16: bool
    disable_weights_auto_swap: bool
    enable_quantization: bool

    emphasis: str
    comma_padding_backtrack: int
    CLIP_stop_at_last_layers: int
    enable_prompt_comments: bool
    use_old_emphasis_implementation: bool
    use_old_scheduling: bool
    sdxl_clip_l_skip: bool
    sdxl_crop_top: int
    sdxl_crop_left: int
    sdxl_refiner_low_aesthetic_score: float
    sdxl_refiner_high_aesthetic_score: float
    pad_cond_uncond: bool
    pad_cond_uncond_v0: bool
    batch_cond_uncond: bool

    return_mask: bool
    return_mask_composite: bool
    sd_lora: str
    lora_preferred_name: str
    extra_networks_default_multiplier: float
    token_merging_ratio: float
    token_merging_ratio_img2img: float
    token_merging_ratio_hr: float
    hires_fix_refiner_pass: str
    refiner_switch_by_sample_steps: bool
    img2img_extra_noise: float
    initial_noise_multiplier: float
    img2img_color_correction: bool
    img2img_fix_steps: bool
    img2img_background_color: str
    upscaler_for_img2img: str | None
    ESRGAN_tile: int
    ESRGAN_tile_overlap: int
    DAT_tile: int
    DAT_tile_overlap: int
    SWIN_tile: int
    SWIN_tile_overlap: int
    postprocessing_disable_in_extras: list[str]
    postprocessing_operation_order: list[str]
    overlay_inpaint: bool
    save_init_img: bool
    inpainting_mask_weight: float
    lora_add_hashes_to_infotext: bool
    lora_in_memory_limit: int
    textual_inversion_add_hashes_to_infotext: bool

    randn_source: str
    tiling: bool
    s_min_uncond: float
    s_min_uncond_all: bool
    skip_early_cond: float
    eta_ddim: float
    eta_ancestral: float
    ddim_discretize: str
    s_churn: float
    s_tmin: float
    s_tmax: float
    s_noise: float
    sigma_min: float
    sigma_max: float
    rho: float
    beta_dist_alpha: float
    beta_dist_beta: float
    uni_pc_variant: str
    uni_pc_skip_type: str
    uni_pc_order: int
    uni_pc_lower_order_final: bool
    eta_noise_seed_delta: int
    always_discard_next_to_last_sigma: bool
    sgm_noise_multiplier: bool
    sd_noise_schedule: str
    use_downcasted_alpha_bar: bool
    use_old_karras_scheduler_sigmas: bool
    no_dpmpp_sde_batch_determinism: bool
    darkroom_old_sampler_names: bool
    darkroom_strict_overrides: bool

    face_restoration: bool
    face_restoration_model: str
    code_former_weight: float
    face_restoration_unload: bool

    interrogate_keep_models_in_memory: bool
    interrogate_return_ranks: bool
    interrogate_clip_num_beams: int
    interrogate_clip_min_length: int
    interrogate_clip_max_length: int
    interrogate_deepbooru_score_threshold: float
    deepbooru_sort_alpha: bool
    deepbooru_use_spaces: bool
    deepbooru_escape: bool
    deepbooru_filter_tags: str

    live_previews_enable: bool
    live_previews_image_format: str
    live_preview_content: str
    show_progress_grid: bool
    show_progress_every_n_steps: int
    show_progress_type: str

    api_enable_requests: bool
    api_forbid_local_requests: bool
    api_useragent: str

    disabled_extensions: Sequence[str]
    disable_all_extensions: str

    extra: Mapping[str, Any]
    rules: Rules

    @classmethod
    def defaults(cls, rules: Rules | None = None) -> Self:
        """Every setting as the reference has it before anybody changes one."""
        values = dict(defaults())
        names = [field.name for field in fields(cls) if field.name not in _NOT_SETTINGS]
        typed = {name: values.pop(name) for name in names}
        return cls(**typed, extra=MappingProxyType(values), rules=rules or Rules())

    def as_wire(self) -> dict[str, Any]:
        """All settings by key, in the reference's order."""
        return {key: self._value(key) for key in defaults()}

    def with_overrides(self, changes: Mapping[str, object]) -> tuple[Self, tuple[str, ...]]:
        """A copy with `changes` made, and the keys ignored: unknown, or withheld by `rules`.

        Null means the default. Values are coerced to the default's type.

        Raises:
            BadOption: a value that cannot be coerced; `self` is as it was in any case.
            FrozenOption: a setting that the `rules` hold would get another value.
        """
        known = {
            key: _coerced(key, value)
            for key, value in changes.items()
            if key in defaults() and not self.rules.ignores(key)
        }
        for key, value in known.items():
            flag = self.rules.held_by(key)
            if flag is not None and value != self._value(key):
                raise FrozenOption(key, flag)
        ignored = (key for key in changes if key not in known and not self._is_told(key, changes))
        return self._changed(known), tuple(ignored)

    def _is_told(self, key: str, changes: Mapping[str, object]) -> bool:
        """Whether a client only sends back what it was told: there is nothing to ignore."""
        return key in DERIVED or (key in defaults() and changes[key] == self._value(key))

    def _value(self, key: str) -> Any:
        return self.extra[key] if key in self.extra else getattr(self, key)

    def _changed(self, values: Mapping[str, Any]) -> Self:
        extra = {key: value for key, value in values.items() if key in self.extra}
        typed = {key: value for key, value in values.items() if key not in extra}
        return replace(self, **typed, extra=MappingProxyType({**self.extra, **extra}))


class OptionsStore:
    """The server's current options, read from config.json and written back to it.

    `switching` is held by whoever loads a model and then sets it, so that the model set last is the
    one loaded last.

    Raises:
        BadConfig: config.json exists and is not a JSON object.
    """

    def __init__(self, path: Path, rules: Rules | None = None) -> None:
        self.switching = AsyncLock()
        self._path = path
        self._lock = Lock()
        self._foreign, stored = _read(path)
        self._stored = frozenset(stored)
        self._current = self._saved = Options.defaults(rules)._changed(stored)

    @property
    def current(self) -> Options:
        """The options as they are now; a frozen value, safe to keep."""
        return self._current

    def set(self, changes: Mapping[str, object], *, save: bool = True) -> tuple[str, ...]:
        """Make all of `changes` or none, keep them in config.json, and return the keys ignored.

        With `save` false the change lasts until the server stops, or until the next saved one.

        Raises:
            BadOption, FrozenOption: as `Options.with_overrides`.
            OSError: config.json cannot be written.
        """
        with self._lock:
            changed, ignored = self._current.with_overrides(changes)
            if save and changed != self._saved:
                self._write(changed)
                self._saved = changed
            self._current = changed
        return ignored

    def _write(self, options: Options) -> None:
        """Write what the file already had, and what is not at its default."""
        standard = defaults()
        kept = {
            key: value
            for key, value in options.as_wire().items()
            if key in self._stored or value != standard[key]
        }
        _replace_file(self._path, json.dumps({**self._foreign, **kept}, indent=4) + "\n")
        self._stored = frozenset(kept)


def _coerced(key: str, value: object) -> Any:
    standard = defaults()[key]
    if value is None:
        return standard
    try:
        match standard:
            case bool():
                return to_bool(value)
            case int():
                return _whole(key, value)
            case float():
                number = to_float(value)
                # a whole number stays one: infotexts print settings as they were sent
                return value if type(value) is int else number
            case list():
                return _texts(value)
        return at_most(_LONGEST_TEXT)(to_str(value))
    except PydanticCustomError as error:
        raise BadOption(key, value, error.message()) from None


def _whole(key: str, value: object) -> int | float:
    """An integer; a slider of the page whose default happens to be whole keeps its fraction."""
    number = to_float(to_int(value) if isinstance(value, str) else value)
    keeps_fraction = key not in Options.__slots__ and not number.is_integer()
    return number if keeps_fraction else to_int(number)


def _texts(value: object) -> list[str]:
    items = to_list(value)
    if len(items) > _LONGEST_LIST:
        raise PydanticCustomError(
            "value_error.list.max_items",
            "ensure this value has at most {limit_value} items",
            {"limit_value": _LONGEST_LIST},
        )
    return [at_most(_LONGEST_TEXT)(to_str(item)) for item in items]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keys of config.json we do not know, untouched, and those we do, coerced."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}, {}
    except (OSError, ValueError, RecursionError) as error:
        raise BadConfig(path, str(error)) from error
    if not isinstance(content, dict):
        raise BadConfig(path, f"its top level is a {type(content).__name__}, not an object")
    stored: dict[str, Any] = {}
    for key in content.keys() & defaults().keys():
        try:
            stored[key] = _coerced(key, content[key])
        except BadOption as error:
            _log.warning("config.option_ignored", path=str(path), reason=str(error))
    return {key: value for key, value in content.items() if key not in defaults()}, stored


def _replace_file(path: Path, text: str) -> None:
    """Write `text` so that a reader, or a crash, finds the old file or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
