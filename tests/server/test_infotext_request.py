"""What a request's infotext fills, and what it leaves alone."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.infotext_request import FIELDS, SETTINGS, filled
from server.option_table import defaults
from server.options import Options
from server.schemas.img2img import Img2ImgRequest
from server.schemas.txt2img import Txt2ImgRequest
from server.styles import Style

STYLES = {"Oil": Style("Oil", "oil painting", "")}
PLAIN = "a cat\nSteps: 5, Sampler: Euler a, Schedule type: Karras, CFG scale: 4.5, Seed: 77"


def options(**changes: object) -> Options:
    return Options.defaults().with_overrides(changes)[0]


def txt2img(infotext: str, current: Options | None = None, **fields: object) -> dict[str, Any]:
    request = Txt2ImgRequest.model_validate({"infotext": infotext, **fields})
    made, warnings = filled(request, current or options(), STYLES)
    assert warnings == ()
    return made.echo()


def img2img(infotext: str, **fields: object) -> dict[str, Any]:
    request = Img2ImgRequest.model_validate({"infotext": infotext, **fields})
    return filled(request, options(), STYLES)[0].echo()


def changed(echo: dict[str, Any], model: type[Any] = Txt2ImgRequest) -> dict[str, Any]:
    """The fields that are not as in a request without infotext."""
    plain = model.model_validate({}).echo()
    return {key: value for key, value in echo.items() if value != plain[key] and key != "infotext"}


def test_open_fields_are_filled_and_settings_that_differ_overridden() -> None:
    text = f"{PLAIN}, Size: 64x96, Clip skip: 2, ENSD: 31337, Version: v1.10.1"
    assert changed(txt2img(text)) == {
        "prompt": "a cat",
        "seed": 77,
        "sampler_name": "Euler a",
        "scheduler": "Karras",
        "steps": 5,
        "cfg_scale": 4.5,
        "width": 64,
        "height": 96,
        "override_settings": {"CLIP_stop_at_last_layers": 2, "eta_noise_seed_delta": 31337},
        "hr_checkpoint_name": "Use same checkpoint",
        "hr_sampler_name": "Use same sampler",
        "hr_scheduler": "Use same scheduler",
    }


def test_what_the_client_set_stays_null_included() -> None:
    echo = txt2img(
        PLAIN,
        prompt="mine",
        steps=3,
        scheduler=None,
        cfg_scale=None,
        override_settings={"CLIP_stop_at_last_layers": 4},
    )
    assert (echo["prompt"], echo["steps"], echo["scheduler"], echo["cfg_scale"]) == (
        "mine",
        3,
        None,
        None,
    )
    assert (echo["seed"], echo["override_settings"]) == (77, {"CLIP_stop_at_last_layers": 4})


@pytest.mark.parametrize("infotext", [None, ""])
def test_without_infotext_nothing_happens(infotext: str | None) -> None:
    request = Txt2ImgRequest.model_validate({"infotext": infotext, "steps": 3})
    assert filled(request, options(), STYLES) == (request, ())


def test_settings_are_told_from_the_servers_own() -> None:
    text = f"{PLAIN}, Clip skip: 2, Eta: 0.5, Emphasis: No norm, Pad conds: True"
    current = options(CLIP_stop_at_last_layers=2, randn_source="CPU", eta_ancestral=0.5)
    assert txt2img(text, current)["override_settings"] == {
        "emphasis": "No norm",
        "randn_source": "GPU",
        "pad_cond_uncond": True,
    }


def test_the_model_is_told_only_where_the_setting_allows_it() -> None:
    text = f"{PLAIN}, Model hash: df30768f29, VAE: a.vae.pt"
    assert txt2img(text)["override_settings"] == {"sd_vae": "a.vae.pt"}
    swapping = options(disable_weights_auto_swap=False)
    assert txt2img(text, swapping)["override_settings"] == {
        "sd_model_checkpoint": "df30768f29",
        "sd_vae": "a.vae.pt",
    }


def test_a_restored_face_is_the_setting_that_restores() -> None:
    text = f"{PLAIN}, Face restoration: CodeFormer, Tiling: True"
    assert txt2img(text)["override_settings"] == {"face_restoration": True, "tiling": True}


def test_labels_may_be_left_out_by_a_setting() -> None:
    echo = txt2img(f"{PLAIN}, Clip skip: 2", options(infotext_skip_pasting=["Seed", "Clip skip"]))
    assert (echo["seed"], echo["steps"], echo["override_settings"]) == (-1, 5, {})


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        ("Sampler: Euler a, Schedule type: Automatic", ("Euler a", "Automatic")),
        ("Sampler: DPM++ 2M, Schedule type: Karras", ("DPM++ 2M", "Automatic")),
        ("Sampler: DPM++ 2M, Schedule type: SGM Uniform", ("DPM++ 2M", "SGM Uniform")),
        ("Sampler: DPM++ SDE Karras, Eta: 1", ("DPM++ SDE", "Automatic")),
        ("Size: 64x64, Model: x", ("DPM++ 2M", "Automatic")),
    ],
)
def test_sampler_and_schedule(sampler: str, expected: tuple[str, str]) -> None:
    echo = txt2img(f"a\nSteps: 5, Seed: 1, {sampler}")
    assert (echo["sampler_name"], echo["scheduler"]) == expected


def test_a_hires_pass() -> None:
    echo = txt2img(
        f"{PLAIN}, Denoising strength: 0.7, Hires sampler: Euler, Hires schedule type: Beta, "
        "Hires prompt: a dog, Hires upscale: 1.5, Hires steps: 3, Hires upscaler: Lanczos, "
        "Hires checkpoint: other [abc], Refiner: other [abc], Refiner switch at: 0.4"
    )
    assert {key: value for key, value in echo.items() if key.startswith(("hr_", "refiner"))} == {
        "refiner_checkpoint": "other [abc]",
        "refiner_switch_at": 0.4,
        "hr_scale": 1.5,
        "hr_upscaler": "Lanczos",
        "hr_second_pass_steps": 3,
        "hr_resize_x": 0,
        "hr_resize_y": 0,
        "hr_checkpoint_name": "other [abc]",
        "hr_sampler_name": "Euler",
        "hr_scheduler": "Beta",
        "hr_prompt": "a dog",
        "hr_negative_prompt": "",
    }
    assert (echo["enable_hr"], echo["denoising_strength"]) == (True, 0.7)
    resized = txt2img(f"{PLAIN}, Denoising strength: 0.7, Hires resize: 96x128")
    assert (resized["hr_resize_x"], resized["hr_resize_y"]) == (96, 128)


def test_the_denoising_strength_of_zero_that_old_versions_told_always_is_no_hires_pass() -> None:
    assert not txt2img(f"{PLAIN}, Denoising strength: 0")["enable_hr"]
    assert txt2img(f"{PLAIN}, Denoising strength: 0, Hires upscale: 2")["enable_hr"]
    assert txt2img(f"{PLAIN}, Denoising strength: 0.5")["enable_hr"]
    assert not txt2img(PLAIN)["enable_hr"]


def test_seed_extras() -> None:
    echo = txt2img(
        f"{PLAIN}, Variation seed: 5, Variation seed strength: 0.25, Seed resize from: 96x64"
    )
    assert [echo[key] for key in ("subseed", "subseed_strength")] == [5, 0.25]
    assert [echo[f"seed_resize_from_{side}"] for side in "wh"] == [96, 64]


def test_styles_are_named_not_spelt_out() -> None:
    echo = txt2img("a cat, oil painting\nSteps: 5, Seed: 1, Sampler: Euler")
    assert (echo["prompt"], echo["styles"]) == ("a cat", ["Oil"])


def test_an_inpainted_picture() -> None:
    echo = img2img(
        f"{PLAIN}, Denoising strength: 0.4, Mask blur: 6, Mask mode: Inpaint not masked, "
        "Inpaint area: Only masked, Masked area padding: 8, Masked content: latent noise",
        init_images=["x"],
    )
    wanted: dict[str, object] = {"mask_blur": 6, "inpainting_mask_invert": 1}
    wanted |= {"inpaint_full_res": True}
    wanted |= {"inpaint_full_res_padding": 8, "inpainting_fill": 2, "denoising_strength": 0.4}
    assert {key: echo[key] for key in wanted} == wanted
    whole = img2img(f"{PLAIN}, Mask blur: 6")
    assert (whole["inpaint_full_res"], whole["inpainting_fill"]) == (False, 1)
    unblurred = img2img(f"{PLAIN}, Masked content: fill")
    assert (unblurred["inpaint_full_res"], unblurred["inpainting_fill"]) == (False, 0)


def test_a_picture_without_mask_leaves_the_fields_of_inpainting_open() -> None:
    echo = changed(img2img(f"{PLAIN}, Image CFG scale: 1.5"), Img2ImgRequest)
    assert echo == {
        "prompt": "a cat",
        "seed": 77,
        "sampler_name": "Euler a",
        "scheduler": "Karras",
        "steps": 5,
        "cfg_scale": 4.5,
        "override_settings": {},
        "image_cfg_scale": 1.5,
    }


@pytest.mark.parametrize(
    ("wrong", "fields"),
    [
        ("Steps: 99999", {"steps"}),
        ("Steps: many", {"steps"}),
        ("Steps: 5, CFG scale: nan", {"cfg_scale"}),
        ("Steps: 5, Size: 99999x64", {"width"}),
        ("Steps: 5, Size: 8000x8000", {"height", "width"}),
        ("Steps: 5, Batch size: 2000", {"batch_size"}),
        ("Steps: 5, Seed: -1e400", {"seed"}),
    ],
)
def test_values_that_a_field_cannot_have_are_left_out(wrong: str, fields: set[str]) -> None:
    text = f"a cat\n{wrong}, Sampler: Euler, Model: x, Version: v1.10.1"
    made, warnings = filled(Txt2ImgRequest.model_validate({"infotext": text}), options(), {})
    assert made.prompt == "a cat"
    plain = Txt2ImgRequest.model_validate({})
    named = {warning.split()[2] for warning in warnings}
    assert named & fields
    assert all(getattr(made, name) == getattr(plain, name) for name in named)


def test_a_limit_that_two_fields_share_does_not_end_the_request() -> None:
    body = {"infotext": f"{PLAIN}, Size: 8000x64", "height": 8000}
    made, warnings = filled(Txt2ImgRequest.model_validate(body), options(), {})
    assert (made.width, made.height) == (512, 8000)
    assert warnings


def test_settings_of_the_wrong_type_are_left_out() -> None:
    text = f"{PLAIN}, Clip skip: two, Eta: nan, UniPC order: 1.5"
    assert txt2img(text)["override_settings"] == {}


def test_an_endless_infotext_is_not_read() -> None:
    request = Txt2ImgRequest.model_validate({"infotext": "a" * 300_000})
    made, warnings = filled(request, options(), STYLES)
    assert made == request
    assert "characters" in warnings[0]


def test_every_label_is_of_a_setting_and_every_field_of_a_request() -> None:
    assert set(SETTINGS.values()) <= set(defaults())
    known = set(Txt2ImgRequest.model_fields) | set(Img2ImgRequest.model_fields)
    assert set(FIELDS) <= known


LABELS = st.sampled_from(
    [
        *SETTINGS,
        *("Steps", "Sampler", "Schedule type", "Seed", "Size", "Denoising strength", "Version"),
        *("Hires upscale", "Hires resize", "Mask blur", "Refiner", "Batch size", "Hypernet"),
    ]
)
VALUES = st.one_of(
    st.text(max_size=8),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["True", "False", "1x1", "99999999999x2", "Euler Karras", "None", '"\\ud800"']),
)
ENTRIES = st.lists(st.tuples(LABELS, VALUES), max_size=12)


@given(st.text(max_size=40), ENTRIES, st.booleans())
def test_any_infotext_gives_a_valid_request(
    prompt: str, entries: list[tuple[str, str]], masked: bool
) -> None:
    line = ", ".join(f"{label}: {value}" for label, value in entries)
    text = f"{prompt}\n{line}".encode(errors="replace").decode()
    model = Img2ImgRequest if masked else Txt2ImgRequest
    request = model.model_validate({"infotext": text})
    made, _ = filled(request, options(disable_weights_auto_swap=False), STYLES)
    json.dumps(made.echo(), allow_nan=False).encode()
    assert model.model_validate(made.sent) == made
    options().with_overrides(made.override_settings or {})
