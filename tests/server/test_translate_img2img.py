"""Img2img requests become plans."""

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipelines.plan import Img2ImgPlan
from server.errors import ApiError
from server.img2img import InitPictures
from server.options import Options
from server.schemas.img2img import Img2ImgRequest
from server.translate import Translated, img2img

from ..models.files import one_tensor
from .fakes import FakeCatalog, library
from .wire import CIRCLES, SQUARES


def sent(shade: int = 100) -> str:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (shade,) * 3).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def translated(
    folder: Path = Path("/nowhere"), pictures: InitPictures | None = None, /, **fields: Any
) -> tuple[Img2ImgPlan, Translated]:
    body = {"init_images": [sent()], "width": 64, "height": 64, **fields}
    request = Img2ImgRequest.model_validate(body)
    files = library(FakeCatalog(CIRCLES, SQUARES), folder)
    found = img2img(request, Options.defaults(), files, pictures=pictures)
    assert isinstance(found.plan, Img2ImgPlan)
    return found.plan, found


def test_defaults_of_the_wire() -> None:
    plan, found = translated()
    assert (plan.sampler.name, plan.sampler.steps, plan.denoising) == ("Euler", 50, 0.75)
    assert (plan.width, plan.height, plan.batch_size, plan.passes) == (64, 64, 1, 1)
    assert (plan.fix_steps, plan.noise_multiplier, plan.extra_noise) == (False, 1.0, 0.0)
    assert plan.guidance.image_scale is None
    assert plan.model.checkpoint == CIRCLES
    assert plan.init.pixels.shape == (1, 64, 64, 3)
    assert found.init is plan.init
    assert found.init_hash is None
    assert dict(found.first) == {"Denoising strength": 0.75}
    assert dict(found.extra) == {}
    assert found.warnings == ()


def test_one_picture_serves_every_image_and_several_make_the_batch() -> None:
    plan, _ = translated(batch_size=3, n_iter=2, seed=5)
    assert (plan.batch_size, len(plan.prompts)) == (3, 6)
    assert plan.seeds.seeds == (5, 6, 7, 8, 9, 10)
    assert len(plan.init.pixels) == 1
    plan, _ = translated(init_images=[sent(1), sent(2)], batch_size=3, n_iter=2, seed=5)
    assert (plan.batch_size, len(plan.prompts)) == (2, 4)
    assert plan.seeds.seeds == (5, 6, 7, 8)
    assert [int(each.max()) for each in plan.init.pixels] == [1, 2]


@pytest.mark.parametrize(
    ("sent_value", "setting", "used", "told"),
    [(None, 1.0, 1.0, None), (0.5, 1.0, 0.5, 0.5), (None, 0.9, 0.9, 0.9), (1.0, 0.9, 1.0, None)],
)
def test_the_noise_multiplier_is_the_request_s_else_the_setting_s(
    sent_value: float | None, setting: float, used: float, told: float | None
) -> None:
    plan, found = translated(
        initial_noise_multiplier=sent_value,
        override_settings={"initial_noise_multiplier": setting},
    )
    assert plan.noise_multiplier == used
    assert found.first.get("Noise multiplier") == told


def test_the_multiplier_of_noise_at_full_scale_is_not_told() -> None:
    plan, found = translated(override_settings={"sgm_noise_multiplier": True})
    assert plan.sampler.sgm_noise_multiplier
    assert "SGM noise multiplier" not in found.extra


def test_the_picture_s_own_scale_is_the_request_s() -> None:
    plan, _ = translated(image_cfg_scale=1.5, cfg_scale=4)
    assert (plan.guidance.scale, plan.guidance.image_scale) == (4.0, 1.5)


def test_all_steps_are_run_by_a_setting() -> None:
    plan, _ = translated(override_settings={"img2img_fix_steps": True}, denoising_strength=0.5)
    assert plan.fix_steps
    assert plan.denoising == 0.5


def test_extra_noise_is_told_before_the_sampler_s_own_numbers() -> None:
    plan, found = translated(
        sampler_name="Euler a",
        scheduler="Karras",
        eta=0.5,
        override_settings={"img2img_extra_noise": 0.1},
    )
    assert plan.extra_noise == 0.1
    assert list(found.extra) == ["Schedule type", "Extra noise", "Eta"]


@pytest.mark.parametrize(
    ("settings", "merged"),
    [
        ({}, 0.0),
        ({"token_merging_ratio_img2img": 0.25}, 0.25),
        ({"token_merging_ratio": 0.5}, 0.5),
        ({"token_merging_ratio": 0.5, "token_merging_ratio_img2img": 0.25}, 0.5),
    ],
)
def test_merging_tokens_has_a_setting_for_img2img(
    settings: dict[str, float], merged: float
) -> None:
    plan, _ = translated(override_settings=settings)
    assert plan.model.token_merging == merged


def test_networks_and_a_refiner_take_part(tmp_path: Path) -> None:
    one_tensor(tmp_path / "Lora" / "style.safetensors")
    plan, found = translated(
        tmp_path,
        prompt="a <lora:style:0.5>",
        refiner_checkpoint="squares",
        refiner_switch_at=0.5,
        batch_size=2,
    )
    assert [uses[0].network.name for uses in plan.networks] == ["style", "style"]
    assert plan.refiner is not None
    assert plan.refiner.model.checkpoint == SQUARES
    assert list(found.first) == ["Denoising strength", "Lora hashes"]


def test_pictures_of_a_script_take_the_place_of_the_request_s() -> None:
    own = InitPictures(images=(Image.new("RGB", (64, 64), (3, 3, 3)),))
    plan, _ = translated(Path("/nowhere"), own, init_images=None)
    assert int(plan.init.pixels.max()) == 3


def test_warnings_are_of_settings_first_then_of_pictures() -> None:
    _, found = translated(
        override_settings={"nonsense": 1, "upscaler_for_img2img": "SwinIR"},
        sampler_name="none such",
    )
    kinds = [warning.split()[0] for warning in found.warnings]
    assert kinds == ["unknown", "unknown", "unknown"]
    assert "nonsense" in found.warnings[0]
    assert "upscaler_for_img2img" in found.warnings[1]


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"init_images": None}, 404, "Init image not found"),
        ({"init_images": []}, 500, "init_images is empty"),
        ({"init_images": [sent()] * 3, "batch_size": 2}, 500, "bad number of images passed: 3"),
        ({"refiner_checkpoint": "some"}, 500, "Could not find checkpoint with name some"),
    ],
)
def test_what_cannot_be_done_is_refused(fields: dict[str, Any], status: int, message: str) -> None:
    with pytest.raises(ApiError, match=message) as refused:
        translated(**fields)
    assert refused.value.status == status
