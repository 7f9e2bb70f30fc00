"""What the axes of an X/Y/Z plot can change.

The order of the table is the wire's: clients name an axis by its place among those of the mode.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..protocol import BadScriptArgs, Host
from ..wanted import Mode, Wanted
from .xyz_values import Kind

_MAX_PROMPT = 100_000
"""Characters of a prompt; a replacement must not make a longer one."""

_UNSET = ("", "None", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Applying:
    """What may decide what a value does: the axis's values and names of things."""

    values: Sequence[Any]
    host: Host


Apply = Callable[[Wanted, Any, Applying], Wanted]


def _labelled(label: str, value: Any) -> str:
    return f"{label}: {_plain(label, value)}"


def _plain(_: str, value: Any) -> str:
    return str(round(value, 8) if isinstance(value, float) else value)


def _file_name(_: str, value: str) -> str:
    return os.path.basename(value)


def _accepted(value: Any, host: Host) -> None:
    """Any value will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One thing that a plot can change.

    Values that are `listed` come as a list rather than as text. `show` writes a value beside the
    grid. `check` raises BadScriptArgs for a value before anything is drawn. What costs more is
    changed less often.
    """

    label: str
    apply: Apply
    kind: Kind = "text"
    mode: Mode | None = None
    listed: bool = False
    show: Callable[[str, Any], str] = _labelled
    check: Callable[[Any, Host], None] = _accepted
    cost: float = 0.0


def axes(mode: Mode) -> tuple[Axis, ...]:
    """The axes of a mode, in the order of the wire."""
    return tuple(axis for axis in _AXES if axis.mode in (None, mode))


def _field(name: str) -> Apply:
    """Sets a field of the request, where it has that field."""

    def apply(wanted: Wanted, value: Any, _: Applying) -> Wanted:
        return wanted.changed(**{name: value}) if name in wanted.fields else wanted

    return apply


def _setting(name: str) -> Apply:
    """Overrides a setting."""

    def apply(wanted: Wanted, value: Any, _: Applying) -> Wanted:
        return _overridden(wanted, name, value)

    return apply


def _switch(name: str) -> Apply:
    """Overrides a setting that is on or off."""

    def apply(wanted: Wanted, value: Any, _: Applying) -> Wanted:
        return _overridden(wanted, name, value.lower() == "true")

    return apply


def _overridden(wanted: Wanted, name: str, value: object) -> Wanted:
    overrides = {**(wanted.override_settings or {}), name: value}
    return wanted.changed(override_settings=overrides)


def _nothing(wanted: Wanted, value: Any, _: Applying) -> Wanted:
    return wanted


def _replace(wanted: Wanted, value: str, applying: Applying) -> Wanted:
    """The first value's text replaced by this one's in both prompts."""
    old = applying.values[0]
    texts = wanted.prompt, wanted.negative_prompt
    if not any(old in text for text in texts):
        raise BadScriptArgs(f"Prompt S/R did not find {old!r:.80} in prompt or negative prompt")
    for text in texts:
        if len(text) + text.count(old) * (len(value) - len(old)) > _MAX_PROMPT:
            raise BadScriptArgs(f"Prompt S/R: {value!r:.80} makes the prompt too long")
    prompt, negative = (text.replace(old, value) for text in texts)
    return wanted.changed(prompt=prompt, negative_prompt=negative)


def _reorder(wanted: Wanted, value: tuple[str, ...], _: Applying) -> Wanted:
    """Parts of the prompt in another order; what is between them stays in place."""
    rest: str = wanted.prompt
    made = ""
    for old, new in zip(sorted(value, key=rest.find), value, strict=True):
        before, found, rest = rest.partition(old) if old else (rest, "", "")
        if not found:
            raise BadScriptArgs(f"Prompt order did not find {old!r:.80} in the prompt")
        made += before + new
    return wanted.changed(prompt=made + rest)


def _checkpoint(wanted: Wanted, value: str, applying: Applying) -> Wanted:
    return _overridden(wanted, "sd_model_checkpoint", applying.host.find_checkpoint(value))


def _vae(wanted: Wanted, value: str, applying: Applying) -> Wanted:
    """The VAE with the shortest name that contains the value; Automatic where none does."""
    asked = value.strip().lower()
    if asked == "none":
        return _overridden(wanted, "sd_vae", "None")
    names = sorted(applying.host.names["vaes"], key=len)
    automatic = asked in ("auto", "automatic")
    fitting = [name for name in names if asked in name.lower() and not automatic]
    return _overridden(wanted, "sd_vae", fitting[0] if fitting else "Automatic")


def _styles(wanted: Wanted, value: str, _: Applying) -> Wanted:
    return wanted.changed(styles=[*(wanted.styles or ()), *value.split(",")])


def _unipc_order(wanted: Wanted, value: int, _: Applying) -> Wanted:
    return _overridden(wanted, "uni_pc_order", min(value, wanted.steps - 1))


def _face_restore(wanted: Wanted, value: str, _: Applying) -> Wanted:
    """Which restorer, or whether at all."""
    asked = value.lower()
    for name in ("CodeFormer", "GFPGAN"):
        if asked == name.lower():
            wanted = _overridden(wanted, "face_restoration_model", name)
            return wanted.changed(restore_faces=True)
    return wanted.changed(restore_faces=asked in ("true", "yes", "y", "1"))


def _size(wanted: Wanted, value: str, _: Applying) -> Wanted:
    width, height = _sides(value)
    return wanted.changed(width=width, height=height)


def _sides(value: str) -> tuple[int, int]:
    width, _, height = value.partition("x")
    try:
        return int(width), int(height)
    except ValueError:
        raise BadScriptArgs(f"Size {value!r:.80}: allowed is WIDTHxHEIGHT") from None


def _is_size(value: str, _: Host) -> None:
    _sides(value)


def _is_sampler(value: str, host: Host) -> None:
    if value.lower() not in (name.lower() for name in host.names["samplers"]):
        allowed = ", ".join(host.names["samplers"])
        raise BadScriptArgs(f"unknown sampler {value!r:.80}: allowed are {allowed}")


def _is_checkpoint(value: str, host: Host) -> None:
    if host.find_checkpoint(value) is None:
        allowed = ", ".join(host.names["checkpoints"])
        raise BadScriptArgs(f"unknown checkpoint {value!r:.80}: there are {allowed}")


def _is_checkpoint_or_none(value: str, host: Host) -> None:
    if value not in _UNSET:
        _is_checkpoint(value, host)


_AXES = (
    Axis(label="Nothing", apply=_nothing, show=lambda *_: ""),
    Axis(label="Seed", kind="whole", apply=_field("seed")),
    Axis(label="Var. seed", kind="whole", apply=_field("subseed")),
    Axis(label="Var. strength", kind="number", apply=_field("subseed_strength")),
    Axis(label="Steps", kind="whole", apply=_field("steps")),
    Axis(label="Hires steps", kind="whole", mode="txt2img", apply=_field("hr_second_pass_steps")),
    Axis(label="CFG Scale", kind="number", apply=_field("cfg_scale")),
    Axis(label="Image CFG Scale", kind="number", mode="img2img", apply=_field("image_cfg_scale")),
    Axis(label="Prompt S/R", apply=_replace, show=_plain),
    Axis(
        label="Prompt order", kind="order", apply=_reorder, show=lambda _, parts: ", ".join(parts)
    ),
    Axis(
        label="Sampler", listed=True, apply=_field("sampler_name"), show=_plain, check=_is_sampler
    ),
    Axis(
        label="Hires sampler",
        mode="txt2img",
        listed=True,
        apply=_field("hr_sampler_name"),
        check=_is_sampler,
    ),
    Axis(
        label="Checkpoint name",
        listed=True,
        apply=_checkpoint,
        show=_file_name,
        check=_is_checkpoint,
        cost=1.0,
    ),
    Axis(label="Negative Guidance minimum sigma", kind="number", apply=_field("s_min_uncond")),
    Axis(label="Sigma Churn", kind="number", apply=_field("s_churn")),
    Axis(label="Sigma min", kind="number", apply=_field("s_tmin")),
    Axis(label="Sigma max", kind="number", apply=_field("s_tmax")),
    Axis(label="Sigma noise", kind="number", apply=_field("s_noise")),
    Axis(label="Schedule type", listed=True, apply=_field("scheduler")),
    Axis(label="Schedule min sigma", kind="number", apply=_setting("sigma_min")),
    Axis(label="Schedule max sigma", kind="number", apply=_setting("sigma_max")),
    Axis(label="Schedule rho", kind="number", apply=_setting("rho")),
    Axis(label="Beta schedule alpha", kind="number", apply=_setting("beta_dist_alpha")),
    Axis(label="Beta schedule beta", kind="number", apply=_setting("beta_dist_beta")),
    Axis(label="Eta", kind="number", apply=_field("eta")),
    Axis(label="Clip skip", kind="whole", apply=_setting("CLIP_stop_at_last_layers")),
    Axis(label="Denoising", kind="number", apply=_field("denoising_strength")),
    Axis(label="Initial noise multiplier", kind="number", apply=_field("initial_noise_multiplier")),
    Axis(label="Extra noise", kind="number", apply=_setting("img2img_extra_noise")),
    Axis(label="Hires upscaler", mode="txt2img", listed=True, apply=_field("hr_upscaler")),
    Axis(
        label="Cond. Image Mask Weight",
        kind="number",
        mode="img2img",
        apply=_setting("inpainting_mask_weight"),
    ),
    Axis(label="VAE", listed=True, apply=_vae, cost=0.7),
    Axis(label="Styles", listed=True, apply=_styles),
    Axis(label="UniPC Order", kind="whole", apply=_unipc_order, cost=0.5),
    Axis(label="Face restore", apply=_face_restore, show=_plain),
    Axis(label="Token merging ratio", kind="number", apply=_setting("token_merging_ratio")),
    Axis(
        label="Token merging ratio high-res",
        kind="number",
        apply=_setting("token_merging_ratio_hr"),
    ),
    Axis(
        label="Always discard next-to-last sigma",
        listed=True,
        apply=_switch("always_discard_next_to_last_sigma"),
    ),
    Axis(label="SGM noise multiplier", listed=True, apply=_switch("sgm_noise_multiplier")),
    Axis(
        label="Refiner checkpoint",
        listed=True,
        apply=_field("refiner_checkpoint"),
        show=_file_name,
        check=_is_checkpoint_or_none,
        cost=1.0,
    ),
    Axis(label="Refiner switch at", kind="number", apply=_field("refiner_switch_at")),
    Axis(label="RNG source", listed=True, apply=_setting("randn_source")),
    Axis(label="FP8 mode", listed=True, apply=_setting("fp8_storage"), cost=0.9),
    Axis(label="Size", apply=_size, check=_is_size),
)
