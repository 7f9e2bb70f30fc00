"""The wire's hires fields."""

from dataclasses import replace
from typing import Any

import pytest

from pipelines.plan import HiresPass, Txt2ImgPlan
from server.errors import ApiError
from server.hires import hires_pass
from server.options import Options
from server.schemas.txt2img import Txt2ImgRequest

from .fakes import plan

FIRST = replace(
    plan(images=2, steps=10), height=48, prompts=("a", "a"), negative_prompts=("b", "b")
)


def hires(first: Txt2ImgPlan = FIRST, /, **fields: Any) -> tuple[HiresPass, dict[str, object]]:
    extra: dict[str, object] = {}
    request = Txt2ImgRequest.model_validate({"enable_hr": True, **fields})
    own = request.hr_prompt, request.hr_negative_prompt
    return hires_pass(request, Options.defaults(), first, own, extra), extra


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


def test_spellings_of_latent_upscalers() -> None:
    made, _ = hires(hr_upscaler="Latent (bicubic, antialiased)")
    assert made.upscaler == "Latent (bicubic antialiased)"


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"hr_upscaler": "ESRGAN"}, 500, "could not find upscaler named ESRGAN; known: Latent, "),
        ({"hr_checkpoint_name": "other"}, 501, "hr_checkpoint_name"),
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
