"""Axes: their order against the reference's, and what each changes."""

import json
from pathlib import Path

import pytest

from extensions.protocol import BadScriptArgs
from extensions.scripts.xyz_axes import Applying, Axis, axes
from extensions.wanted import Mode, Wanted

from ..fakes import FakeHost, image, text

RECORDED = Path(__file__).parents[2] / "data" / "responses" / "get_script_info.json"


def _axis(label: str, mode: Mode = "txt2img") -> Axis:
    return next(axis for axis in axes(mode) if axis.label == label)


def _applied(label: str, wanted: Wanted, value: object, *values: object) -> Wanted:
    axis = _axis(label, wanted.mode)
    applying = Applying(values=values or (value,), host=FakeHost().host())
    return axis.apply(wanted, value, applying)


@pytest.mark.parametrize("mode", ["txt2img", "img2img"])
def test_the_order_is_the_wires(mode: Mode) -> None:
    scripts = json.loads(RECORDED.read_text("utf-8"))["response"]
    recorded = next(
        each["args"][0]["choices"]
        for each in scripts
        if each["name"] == "x/y/z plot" and each["is_img2img"] == (mode == "img2img")
    )
    assert [axis.label for axis in axes(mode)] == recorded


@pytest.mark.parametrize(
    ("label", "value", "field"),
    [
        ("Seed", 5, "seed"),
        ("Steps", 9, "steps"),
        ("CFG Scale", 2.5, "cfg_scale"),
        ("Sampler", "Euler a", "sampler_name"),
        ("Schedule type", "Karras", "scheduler"),
        ("Denoising", 0.3, "denoising_strength"),
        ("Eta", 0.1, "eta"),
    ],
)
def test_axes_of_fields(label: str, value: object, field: str) -> None:
    assert getattr(_applied(label, text(), value), field) == value


@pytest.mark.parametrize(
    ("label", "value", "setting", "used"),
    [
        ("Clip skip", 2, "CLIP_stop_at_last_layers", 2),
        ("Schedule rho", 5.0, "rho", 5.0),
        ("RNG source", "NV", "randn_source", "NV"),
        ("SGM noise multiplier", "True", "sgm_noise_multiplier", True),
        ("Always discard next-to-last sigma", "false", "always_discard_next_to_last_sigma", False),
        ("UniPC Order", 3, "uni_pc_order", 3),
        ("UniPC Order", 30, "uni_pc_order", 3),
        ("Checkpoint name", "second", "sd_model_checkpoint", "second.safetensors"),
        ("VAE", "auto", "sd_vae", "Automatic"),
        ("VAE", "NONE", "sd_vae", "None"),
        ("VAE", "One", "sd_vae", "one.safetensors"),
        ("VAE", "vae", "sd_vae", "one.vae.safetensors"),
        ("VAE", "missing", "sd_vae", "Automatic"),
    ],
)
def test_axes_of_settings(label: str, value: object, setting: str, used: object) -> None:
    wanted = _applied(label, text(override_settings={"eta_ddim": 1}), value)
    assert wanted.override_settings == {"eta_ddim": 1, setting: used}


def test_a_field_of_the_other_mode_changes_nothing() -> None:
    assert _applied("Initial noise multiplier", text(), 0.5).fields == text().fields
    changed = _applied("Initial noise multiplier", image(), 0.5)
    assert changed.initial_noise_multiplier == 0.5


def test_prompt_sr_replaces_the_first_value() -> None:
    wanted = text(prompt="a cat, cat", negative_prompt="cat")
    changed = _applied("Prompt S/R", wanted, "dog", "cat", "dog")
    assert (changed.prompt, changed.negative_prompt) == ("a dog, dog", "dog")
    with pytest.raises(BadScriptArgs, match="did not find 'horse' in prompt or negative prompt"):
        _applied("Prompt S/R", wanted, "dog", "horse", "dog")
    with pytest.raises(BadScriptArgs, match="makes the prompt too long"):
        _applied("Prompt S/R", text(prompt="a" * 90_000), "b" * 90_000, "a")
    with pytest.raises(BadScriptArgs, match="makes the prompt too long"):
        _applied("Prompt S/R", text(prompt="a" * 90_000), "bbb", "")


def test_prompt_order_moves_the_parts() -> None:
    wanted = text(prompt="old red wooden house")
    changed = _applied("Prompt order", wanted, ("wooden", "old", "red"))
    assert changed.prompt == "wooden old red house"
    with pytest.raises(BadScriptArgs, match="Prompt order did not find 'blue' in the prompt"):
        _applied("Prompt order", wanted, ("old", "blue"))
    with pytest.raises(BadScriptArgs, match="did not find ''"):
        _applied("Prompt order", wanted, ("old", ""))


def test_styles_are_added() -> None:
    assert _applied("Styles", text(), "one,two").styles == ["one", "two"]
    assert _applied("Styles", text(styles=["zero"]), "one").styles == ["zero", "one"]


@pytest.mark.parametrize(
    ("value", "restores", "model"),
    [("gfpgan", True, "GFPGAN"), ("True", True, None), ("no", False, None)],
)
def test_face_restore(value: str, restores: bool, model: str | None) -> None:
    changed = _applied("Face restore", text(), value)
    assert changed.restore_faces is restores
    assert (changed.override_settings or {}).get("face_restoration_model") == model


def test_sizes() -> None:
    changed = _applied("Size", text(), " 512 x 768 ")
    assert (changed.width, changed.height) == (512, 768)
    with pytest.raises(BadScriptArgs, match="Size '512': allowed is WIDTHxHEIGHT"):
        _axis("Size").check("512", FakeHost().host())


@pytest.mark.parametrize(
    ("label", "value", "said"),
    [
        ("Sampler", "Oiler", "unknown sampler 'Oiler': allowed are DPM"),
        ("Hires sampler", "Oiler", "unknown sampler 'Oiler'"),
        ("Checkpoint name", "third", "unknown checkpoint 'third': there are first"),
        ("Refiner checkpoint", "third", "unknown checkpoint 'third'"),
    ],
)
def test_names_are_checked_before_anything_is_drawn(label: str, value: str, said: str) -> None:
    with pytest.raises(BadScriptArgs, match=said):
        _axis(label).check(value, FakeHost().host())
    for fine in ("None", ""):
        _axis("Refiner checkpoint").check(fine, FakeHost().host())


@pytest.mark.parametrize(
    ("label", "value", "shown"),
    [
        ("Nothing", 0, ""),
        ("Steps", 3, "Steps: 3"),
        ("CFG Scale", 2.0, "CFG Scale: 2.0"),
        ("CFG Scale", 0.1 + 0.2, "CFG Scale: 0.3"),
        ("Prompt S/R", "dog", "dog"),
        ("Prompt order", ("a", "b"), "a, b"),
        ("Sampler", "Euler", "Euler"),
        ("Hires sampler", "Euler", "Hires sampler: Euler"),
        ("Checkpoint name", "sub/one.safetensors", "one.safetensors"),
        ("VAE", "None", "VAE: None"),
    ],
)
def test_values_are_shown_beside_the_grid(label: str, value: object, shown: str) -> None:
    axis = _axis(label)
    assert axis.show(axis.label, value) == shown
