"""The img2img request against the reference's recorded echoes, and our own limits."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from server.schemas.generation import GenerationRequest
from server.schemas.img2img import Img2ImgRequest
from server.schemas.txt2img import Txt2ImgRequest

from ..wire import DATA

ECHOES = json.loads((DATA / "img2img_echoes.json").read_text("utf-8"))
OPENAPI = json.loads((DATA / "openapi.json").read_text("utf-8"))["components"]["schemas"]

# v1.4.0's own fields of img2img, in its order and with its defaults.
OLD_FIELDS: dict[str, Any] = {
    "init_images": ["x"], "resize_mode": 0, "denoising_strength": 0.75, "image_cfg_scale": None,
    "mask": None, "mask_blur": None, "mask_blur_x": 4, "mask_blur_y": 4, "inpainting_fill": 0,
    "inpaint_full_res": True, "inpaint_full_res_padding": 0, "inpainting_mask_invert": 0,
    "initial_noise_multiplier": None, "include_init_images": True,
}  # fmt: skip


def refusals(body: dict[str, Any]) -> dict[str, str]:
    """Field -> message of what is refused in `body`."""
    with pytest.raises(ValidationError) as refused:
        Img2ImgRequest.model_validate(body)
    return {
        str(error["loc"][0]): error["msg"]
        for error in refused.value.errors(include_url=False, include_input=False)
    }


@pytest.mark.parametrize("case", ECHOES, ids=[case["name"] for case in ECHOES])
def test_echo_is_the_references(case: dict[str, Any]) -> None:
    echo = Img2ImgRequest.model_validate(case["request"]).echo()
    assert json.dumps(echo) == json.dumps(case["parameters"])


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (Img2ImgRequest, "StableDiffusionProcessingImg2Img"),
        (Txt2ImgRequest, "StableDiffusionProcessingTxt2Img"),
    ],
)
def test_fields_are_openapis_in_its_order(model: type[GenerationRequest], name: str) -> None:
    ours, theirs = model.model_json_schema(), OPENAPI[name]["properties"]
    assert ours["title"] == name
    assert list(ours["properties"]) == list(theirs)
    for key, described in theirs.items():
        assert ours["properties"][key].items() >= described.items(), key


def test_pictures_are_echoed_only_where_asked_for() -> None:
    body = {"init_images": ["a"], "mask": "b", "latent_mask": "c"}
    echo = Img2ImgRequest.model_validate(body).echo()
    assert (echo["init_images"], echo["mask"], echo["latent_mask"]) == (None, None, "c")
    echo = Img2ImgRequest.model_validate(body | {"include_init_images": True}).echo()
    assert (echo["init_images"], echo["mask"]) == (["a"], "b")


def test_old_fields_are_understood() -> None:
    assert Img2ImgRequest.model_validate(OLD_FIELDS).echo().items() >= OLD_FIELDS.items()


def test_null_is_the_default_and_echoed_where_the_reference_takes_it() -> None:
    body = {"denoising_strength": None, "include_init_images": None, "resize_mode": None}
    request = Img2ImgRequest.model_validate(body)
    assert (request.denoising_strength, request.include_init_images) == (0.75, False)
    assert request.resize_mode == 0
    echo = request.echo()
    assert (echo["denoising_strength"], echo["include_init_images"]) == (0.75, False)
    assert echo["resize_mode"] is None


def test_values_are_read_as_laxly_as_elsewhere() -> None:
    request = Img2ImgRequest.model_validate(
        {"inpainting_mask_invert": True, "inpaint_full_res": "false", "mask_blur": "7"}
    )
    assert (request.inpainting_mask_invert, request.inpaint_full_res) == (1, False)
    assert request.mask_blur == 7


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("init_images", "x", "value is not a valid list"),
        ("mask", [], "str type expected"),
        ("mask_blur", 10**9, "less than or equal to 1024"),
        ("mask_blur_x", 1025, "less than or equal to 1024"),
        ("inpaint_full_res_padding", -1, "greater than or equal to 0"),
        ("initial_noise_multiplier", 1e9, "less than or equal to 1000"),
        ("width", 8, "greater than or equal to 16"),
    ],
)
def test_limits(field: str, value: object, allowed: str) -> None:
    assert allowed in refusals({field: value})[field]


def test_unknown_modes_and_fills_are_let_through_as_the_reference_does() -> None:
    body = {"resize_mode": 9, "inpainting_fill": 9, "denoising_strength": -0.1, "mask_blur": -1}
    assert Img2ImgRequest.model_validate(body).echo().items() >= body.items()
