"""The wire's hires fields."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from PIL import Image

from models.library import Library
from pipelines.pictures.upscale import Tick, Upscaler
from pipelines.plan import HiresPass, Txt2ImgPlan
from server.errors import ApiError
from server.hires import hires_pass, hires_warnings
from server.options import Options
from server.schemas.txt2img import Txt2ImgRequest
from server.styles import Style
from server.tools import PLAIN
from server.wardrobe import Wardrobe

from ..models.files import one_tensor
from .fakes import CHECKPOINT, FakeCatalog, library, plan
from .wire import CIRCLES

FIRST = replace(
    plan(images=2, steps=10), height=48, prompts=("a", "a"), negative_prompts=("b", "b")
)
NOWHERE = library(FakeCatalog(CHECKPOINT, CIRCLES), Path("/nowhere"))


def hires(
    first: Txt2ImgPlan = FIRST,
    /,
    files: Library = NOWHERE,
    styles: Mapping[str, Style] = MappingProxyType({}),
    upscalers: Mapping[str, Upscaler] = PLAIN.upscalers,
    **fields: Any,
) -> tuple[HiresPass, dict[str, object]]:
    extra: dict[str, object] = {}
    request = Txt2ImgRequest.model_validate({"enable_hr": True, **fields})
    options, _ = Options.defaults().with_overrides(request.override_settings or {})
    wardrobe = Wardrobe(files.networks)
    return hires_pass(request, options, first, files, styles, wardrobe, upscalers, extra), extra


def test_defaults() -> None:
    made, extra = hires()
    assert (made.width, made.height, made.crop) == (128, 96, (128, 96))
    assert (made.upscaler, made.denoising, made.steps) == ("Latent", 0.75, 10)
    assert made.sampler == FIRST.sampler
    assert (made.prompts, made.negative_prompts) == (("a", "a"), ("b", "b"))
    assert list(extra.items()) == [
        ("Denoising strength", 0.75),
        ("Hires prompt", None),
        ("Hires negative prompt", None),
        ("Hires schedule type", None),
        ("Hires upscale", 2.0),
    ]


@pytest.mark.parametrize(
    ("x", "y", "size", "crop", "told"),
    [
        (96, 0, (96, 72), (96, 72), "96x0"),
        (0, 96, (128, 96), (128, 96), "0x96"),
        (128, 64, (128, 96), (128, 64), "128x64"),
        (64, 96, (128, 96), (64, 96), "64x96"),
    ],
)
def test_sizes(x: int, y: int, size: tuple[int, int], crop: tuple[int, int], told: str) -> None:
    made, extra = hires(hr_resize_x=x, hr_resize_y=y, hr_scale=3)
    assert ((made.width, made.height), made.crop) == (size, crop)
    assert extra["Hires resize"] == told
    assert "Hires upscale" not in extra


def test_a_sampler_schedule_and_prompts_of_its_own() -> None:
    made, extra = hires(
        hr_sampler_name="DPM++ 2M Karras",
        hr_prompt="c",
        hr_negative_prompt="d",
        hr_second_pass_steps=7,
        hr_upscaler="Lanczos",
        denoising_strength=0.3,
    )
    assert (made.sampler.name, made.sampler.schedule, made.steps) == ("DPM++ 2M", "karras", 7)
    assert (made.prompts, made.negative_prompts) == (("c", "c"), ("d", "d"))
    assert made.upscaler == "Lanczos"
    assert extra["Hires sampler"] == "DPM++ 2M"
    assert extra["Hires schedule type"] == "Karras"
    assert extra["Hires steps"] == 7
    assert extra["Hires upscaler"] == "Lanczos"
    assert extra["Denoising strength"] == 0.3


def test_a_schedule_alone() -> None:
    made, extra = hires(hr_scheduler="Exponential")
    assert (made.sampler.name, made.sampler.schedule) == ("Euler", "exponential")
    assert extra["Hires schedule type"] == "Exponential"
    assert "Hires sampler" not in extra


@pytest.mark.parametrize("unset", ["", "string", "Use same sampler", None])
def test_inheriting(unset: str | None) -> None:
    made, _ = hires(hr_sampler_name=unset, hr_scheduler="Use same scheduler")
    assert made.sampler == FIRST.sampler


@pytest.mark.parametrize("unset", ["", "string", None])
def test_no_upscaler_named_is_the_latent_one(unset: str | None) -> None:
    made, extra = hires(hr_upscaler=unset)
    assert made.upscaler == "Latent"
    assert "Hires upscaler" not in extra


@pytest.mark.parametrize(
    ("fields", "warnings"),
    [
        ({}, ()),
        ({"hr_sampler_name": "Nope"}, ("hires pass: unknown sampler 'Nope': used DPM++ 2M",)),
        ({"hr_sampler_name": "Nope", "enable_hr": False}, ()),
        ({"hr_sampler_name": "DDIM", "hr_scheduler": "Beta"}, ()),
        ({"hr_sampler_name": "string"}, ()),
    ],
)
def test_an_unknown_sampler_is_told(fields: dict[str, Any], warnings: tuple[str, ...]) -> None:
    request = Txt2ImgRequest.model_validate({"enable_hr": True, **fields})
    assert hires_warnings(request) == warnings


def test_an_upscaler_that_is_a_model_goes_into_the_plan() -> None:
    def model(image: Image.Image, tick: Tick) -> Image.Image:
        return image

    made, extra = hires(hr_upscaler="4x-Sharp", upscalers={"None": "None", "4x-Sharp": model})
    assert made.upscaler is model
    assert extra["Hires upscaler"] == "4x-Sharp"
    # names are taken as they are written, as in the reference
    for name in ("4x-sharp", "4x-Sharp.pth", "Lanczos"):
        with pytest.raises(ApiError) as refused:
            hires(hr_upscaler=name, upscalers={"None": "None", "4x-Sharp": model})
        assert refused.value.body["errors"] == f"could not find upscaler named {name}"
        assert refused.value.body["detail"].endswith("Latent (nearest-exact), None, 4x-Sharp")


def test_spellings_of_latent_upscalers() -> None:
    made, _ = hires(hr_upscaler="Latent (bicubic, antialiased)")
    assert made.upscaler == "Latent (bicubic antialiased)"


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"hr_upscaler": "ESRGAN"}, 500, "could not find upscaler named ESRGAN; known: Latent, "),
        ({"hr_checkpoint_name": "other"}, 500, "Could not find checkpoint with name other"),
        ({"hr_resize_x": 8}, 422, "hires size 8x6"),
        ({"hr_scale": 0}, 422, "hires size 0x0"),
        ({"denoising_strength": 1e-9}, 422, "denoising_strength 1e-09: its schedule"),
        ({"hr_resize_x": 8192, "hr_resize_y": 8192}, 422, "at most"),
    ],
)
def test_refusals(fields: dict[str, Any], status: int, message: str) -> None:
    with pytest.raises(ApiError, match=message) as refused:
        hires(**fields)
    assert refused.value.status == status


@pytest.mark.parametrize("unset", ["", "string", "Use same checkpoint", None])
def test_the_first_pass_s_checkpoint_goes_on(unset: str | None) -> None:
    first = replace(FIRST, model=replace(FIRST.model, tiling=True))
    made, extra = hires(first, hr_checkpoint_name=unset)
    assert made.model == first.model
    assert "Hires checkpoint" not in extra


@pytest.mark.parametrize("name", ["circles", "circles.safetensors [c1c1c1c1c1]", "ircle"])
def test_a_checkpoint_of_its_own(name: str) -> None:
    first = replace(FIRST, model=replace(FIRST.model, tiling=True))
    made, extra = hires(first, hr_checkpoint_name=name)
    assert made.model == replace(first.model, checkpoint=CIRCLES)
    assert list(extra)[:2] == ["Denoising strength", "Hires checkpoint"]
    assert extra["Hires checkpoint"] == "circles [c1c1c1c1c1]"


def test_its_checkpoint_has_a_vae_of_its_own(tmp_path: Path) -> None:
    for name in ("circles.vae", "some.vae"):
        one_tensor(tmp_path / "VAE" / f"{name}.safetensors")
    files = library(FakeCatalog(CHECKPOINT, CIRCLES), tmp_path)
    own, _ = files.vaes.choose("Automatic", CHECKPOINT, overrides_preferences=True)
    first = replace(FIRST, model=replace(FIRST.model, vae=own))
    made, _ = hires(first, files, hr_checkpoint_name="circles")
    assert made.model.vae is not None
    assert made.model.vae.name == "circles.vae.safetensors"
    same, _ = hires(first, files)
    assert same.model.vae == own


def test_merging_tokens_has_a_setting_for_this_pass() -> None:
    def merged(**settings: float) -> float:
        made, _ = hires(override_settings=settings)
        return made.model.token_merging

    assert merged() == 0
    assert merged(token_merging_ratio=0.5) == 0.5
    assert merged(token_merging_ratio=0.5, token_merging_ratio_hr=0.25) == 0.25
    assert merged(token_merging_ratio_hr=0.25) == 0.25


def test_networks_are_those_of_its_own_prompt(tmp_path: Path) -> None:
    for name in ("one", "two"):
        one_tensor(tmp_path / "Lora" / f"{name}.safetensors")
    files = library(FakeCatalog(CHECKPOINT), tmp_path)
    first = replace(FIRST, prompts=("a <lora:one:0.5>",) * 2)

    def worn(**fields: Any) -> list[list[tuple[str, float]]]:
        made, _ = hires(first, files, **fields)
        return [[(use.network.name, use.unet_weight) for use in uses] for uses in made.networks]

    assert worn() == [[("one", 0.5)]] * 2
    assert worn(hr_prompt="b <lora:two:0.25>") == [[("two", 0.25)]] * 2
    assert worn(hr_prompt="b") == [[]] * 2
    assert worn(hr_prompt="b <lora:two:1>", disable_extra_networks=True) == []


def test_its_own_prompts_have_the_styles_and_no_comments() -> None:
    styles = {"s": Style(name="s", prompt="{prompt}, oil", negative_prompt="blurry")}
    made, _ = hires(
        styles=styles, hr_prompt="c # not this", hr_negative_prompt="d", override_settings=None
    )
    assert (made.prompts[0], made.negative_prompts[0]) == ("c \n", "d")
    extra: dict[str, object] = {}
    request = Txt2ImgRequest.model_validate({"hr_prompt": "c", "styles": ["s"]})
    wardrobe = Wardrobe(NOWHERE.networks)
    styled = hires_pass(
        request, Options.defaults(), FIRST, NOWHERE, styles, wardrobe, PLAIN.upscalers, extra
    )
    assert styled.prompts == ("c, oil", "c, oil")
    # what is not given is the first pass's, which has its styles already
    assert styled.negative_prompts == FIRST.negative_prompts
