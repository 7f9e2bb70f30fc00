"""A network with real weights behind every place where an upscaler may be named."""

import base64
import io
import json
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from server.app import create_app
from server.settings import parse

from .wire import DATA

NAME = "R-ESRGAN AnimeVideo"
EYE = DATA / "weights" / "eye.png"
STORED = DATA / "weights" / "eye.realesr-animevideov3.png"
LANCZOS = Image.Resampling.LANCZOS

pytestmark = pytest.mark.skipif(
    find_spec("spandrel") is None, reason="spandrel is of the extra `upscalers`"
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """An app on the reference's checkpoint, with the network in its folder."""
    models = DATA / "reference-models"
    flags = ["--data-dir", str(tmp_path_factory.mktemp("data")), "--models-dir", str(models)]
    flags += ["--ckpt", str(models / "Stable-diffusion" / "tiny-sd15.safetensors")]
    flags += ["--realesrgan-models-path", str(DATA / "upscalers" / "RealESRGAN")]
    flags += ["--no-background-hashing", "--use-cpu", "all"]
    with TestClient(create_app(parse(flags))) as served:
        yield served


def opened(text: str) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    image.load()
    return image


def eye(mode: str = "RGB") -> Image.Image:
    with Image.open(EYE) as image:
        return image.convert(mode)


def stored() -> Image.Image:
    with Image.open(STORED) as image:
        return image.convert("RGB")


def sent(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def post(client: TestClient, path: str, **body: Any) -> Any:
    answer = client.post(f"/sdapi/v1/{path}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def psnr(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size
    difference = np.asarray(one, np.float64) - np.asarray(other, np.float64)
    return float(10 * np.log10(255**2 / max(float(np.mean(difference**2)), 1e-9)))


def test_extras_enlarge_by_it(client: TestClient) -> None:
    body = {"image": sent(eye()), "upscaler_1": NAME, "upscaling_resize": 4}
    answer = post(client, "extra-single-image", **body)
    assert (
        answer["html_info"] == f"<p>Postprocess upscale by: 4.0, Postprocess upscaler: {NAME}</p>"
    )
    assert psnr(opened(answer["image"]), stored()) > 50
    # what is less than its factor is brought down to it
    half = opened(post(client, "extra-single-image", **{**body, "upscaling_resize": 2})["image"])
    assert psnr(half, stored().resize((96, 96), LANCZOS)) > 45


def test_extras_blend_it_with_another_and_cut_to_a_size(client: TestClient) -> None:
    answer = post(
        client,
        "extra-batch-images",
        imageList=[{"data": sent(eye()), "name": "a"}, {"data": sent(eye("RGBA")), "name": "b"}],
        resize_mode=1,
        upscaling_resize_w=192,
        upscaling_resize_h=96,
        upscaler_1=NAME,
        upscaler_2="Lanczos",
        extras_upscaler_2_visibility=0.5,
    )
    blended = Image.blend(stored(), eye().resize((192, 192), LANCZOS), 0.5)
    for image in map(opened, answer["images"]):
        assert psnr(image, blended.crop((0, 48, 192, 144))) > 40
    assert "upscale to: 192x96, Postprocess crop to: 192x96" in answer["html_info"]


def test_the_hires_fix_enlarges_by_it(client: TestClient) -> None:
    body: dict[str, Any] = {
        "prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 1,
        "sampler_name": "Euler", "enable_hr": True, "hr_scale": 2, "denoising_strength": 0.0,
    }  # fmt: skip
    answers = {
        name: post(client, "txt2img", **body, hr_upscaler=name) for name in (NAME, "Lanczos")
    }
    infotext = json.loads(answers[NAME]["info"])["infotexts"][0]
    assert f"Hires upscaler: {NAME}" in infotext
    by_it, plain = (opened(answer["images"][0]) for answer in answers.values())
    assert by_it.size == plain.size == (128, 128)
    assert 15 < psnr(by_it, plain) < 45, "the same picture, enlarged in another way"


def test_img2img_brings_pictures_to_size_by_it(client: TestClient) -> None:
    def around(upscaler: str | None) -> Image.Image:
        """What lies outside the mask, which is the init picture itself."""
        answer = post(
            client,
            "img2img",
            init_images=[sent(eye())],
            mask=sent(Image.new("L", (48, 48))),
            inpaint_full_res=False,
            width=192,
            height=192,
            steps=1,
            denoising_strength=0.0,
            override_settings={"upscaler_for_img2img": upscaler},
        )
        return opened(answer["images"][0])

    assert psnr(around(NAME), stored()) > 50
    assert psnr(around(None), eye().resize((192, 192), LANCZOS)) > 50


def test_sd_upscale_enlarges_by_it(client: TestClient) -> None:
    def drawn(upscaler: str | int) -> Image.Image:
        answer = post(
            client,
            "img2img",
            init_images=[sent(eye())],
            width=96,
            height=96,
            steps=1,
            seed=1,
            denoising_strength=0.0,
            script_name="SD upscale",
            script_args=["", 0, upscaler, 2.0],
        )
        return opened(answer["images"][0])

    by_name = drawn(NAME)
    assert by_name.size == (96, 96)
    assert psnr(by_name, drawn(3)) > psnr(by_name, drawn("Nearest")) + 3
