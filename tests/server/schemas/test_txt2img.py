"""The txt2img request against the reference's recorded echoes, and our own limits."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from server.schemas.limits import MAX_PROMPT
from server.schemas.txt2img import Txt2ImgRequest

from ..wire import DATA

ECHOES = json.loads((DATA / "txt2img_echoes.json").read_text("utf-8"))

# v1.4.0's request, in its order and with its defaults.
OLD_BODY: dict[str, Any] = {
    "enable_hr": False, "denoising_strength": 0, "firstphase_width": 0, "firstphase_height": 0,
    "hr_scale": 2.0, "hr_upscaler": None, "hr_second_pass_steps": 0, "hr_resize_x": 0,
    "hr_resize_y": 0, "hr_sampler_name": None, "hr_prompt": "", "hr_negative_prompt": "",
    "prompt": "1 girl", "styles": None, "seed": -1, "subseed": -1, "subseed_strength": 0,
    "seed_resize_from_h": -1, "seed_resize_from_w": -1, "sampler_name": None, "batch_size": 1,
    "n_iter": 1, "steps": 50, "cfg_scale": 7.0, "width": 512, "height": 512,
    "restore_faces": False, "tiling": False, "do_not_save_samples": False,
    "do_not_save_grid": False, "negative_prompt": None, "eta": None, "s_min_uncond": 0.0,
    "s_churn": 0.0, "s_tmax": None, "s_tmin": 0.0, "s_noise": 1.0, "override_settings": None,
    "override_settings_restore_afterwards": True, "script_args": [], "sampler_index": "Euler",
    "script_name": None, "send_images": True, "save_images": False, "alwayson_scripts": {},
}  # fmt: skip


def refusals(body: dict[str, Any]) -> dict[str, str]:
    """Field -> message of what is refused in `body`."""
    with pytest.raises(ValidationError) as refused:
        Txt2ImgRequest.model_validate(body)
    return {
        str(error["loc"][0]): error["msg"]
        for error in refused.value.errors(include_url=False, include_input=False)
    }


@pytest.mark.parametrize("case", ECHOES, ids=[case["name"] for case in ECHOES])
def test_echo_is_the_references(case: dict[str, Any]) -> None:
    echo = Txt2ImgRequest.model_validate(case["request"]).echo()
    assert json.dumps(echo) == json.dumps(case["parameters"])


def test_old_body_is_understood() -> None:
    request = Txt2ImgRequest.model_validate(OLD_BODY)
    assert (request.prompt, request.negative_prompt, request.denoising_strength) == (
        "1 girl",
        "",
        0,
    )
    assert request.echo().items() >= OLD_BODY.items()


def test_null_is_the_default_and_echoed_where_the_reference_takes_it() -> None:
    request = Txt2ImgRequest.model_validate(
        {"width": None, "cfg_scale": None, "sampler_index": None, "script_args": None}
    )
    assert (request.width, request.cfg_scale) == (512, 7.0)
    assert (request.sampler_index, request.script_args) == ("Euler", [])
    echo = request.echo()
    assert (echo["width"], echo["cfg_scale"], echo["steps"]) == (None, None, 50)
    assert (echo["sampler_index"], echo["script_args"]) == ("Euler", [])


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("width", 0, "greater than or equal to 16 (got 0)"),
        ("height", -64, "greater than or equal to 16 (got -64)"),
        ("width", 100_000, "less than or equal to 8192 (got 100000)"),
        ("height", 2**31, "less than or equal to 8192"),
        ("steps", 0, "greater than or equal to 1 (got 0)"),
        ("steps", 10**6, "less than or equal to 1000 (got 1000000)"),
        ("batch_size", 0, "greater than or equal to 1"),
        ("n_iter", 10_000, "less than or equal to 1024"),
        ("cfg_scale", 1e30, "less than or equal to 1000 (got 1e+30)"),
        ("seed", 2**64, "less than or equal to"),
        ("subseed", -(2**64), "greater than or equal to"),
        ("prompt", "x" * (MAX_PROMPT + 1), "at most 100000 characters"),
        ("denoising_strength", float("nan"), "finite number"),
    ],
)
def test_limits(field: str, value: object, allowed: str) -> None:
    assert allowed in refusals({field: value})[field]


@pytest.mark.parametrize(
    "body",
    [
        {"width": 8192, "height": 4096},
        {"width": 70, "height": 65},
        {"seed": -2, "subseed": 2**63},
        {"batch_size": 32, "n_iter": 32},
        {"cfg_scale": -1, "denoising_strength": 1.5},
        {"hr_scale": 100, "hr_resize_x": -1},
    ],
)
def test_within_limits(body: dict[str, Any]) -> None:
    assert Txt2ImgRequest.model_validate(body).echo().items() >= body.items()


def test_products_are_limited() -> None:
    assert refusals({"batch_size": 100, "n_iter": 100}) == {
        "n_iter": "ensure batch_size times n_iter is at most 1024 (got 10000)"
    }
    assert refusals({"width": 8192, "height": 8192}) == {
        "height": "ensure width times height is at most 33554432 (got 67108864)"
    }


@pytest.mark.parametrize("sent", [{}, {"loops": 2}, "x", 1])
def test_script_args_are_a_list(sent: object) -> None:
    with pytest.raises(ValidationError, match="value is not a valid list"):
        Txt2ImgRequest.model_validate({"script_args": sent})


def test_hires_numbers_are_limited_only_with_a_hires_pass() -> None:
    body = {"hr_scale": 100, "hr_second_pass_steps": 5000, "hr_resize_x": 10**6}
    assert Txt2ImgRequest.model_validate(body).hr_scale == 100
    assert refusals({**body, "enable_hr": True}).keys() == body.keys()


def test_an_empty_seed_is_any() -> None:
    request = Txt2ImgRequest.model_validate({"seed": "", "subseed": ""})
    assert (request.echo()["seed"], request.echo()["subseed"]) == (-1, -1)
    assert refusals({"steps": ""}) == {"steps": "value is not a valid integer"}


def test_unknown_keys_leave_no_trace() -> None:
    request = Txt2ImgRequest.model_validate({"__class__": "x", "outpath_samples": "/etc"})
    assert request.echo() == Txt2ImgRequest().echo()
