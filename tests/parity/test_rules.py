"""Rules that hold at any parameters, on the reference checkpoint: no recording decides them."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from .test_goldens import INPUTS

Pixels = NDArray[np.int16]

SMALL = {"prompt": "a red car", "steps": 3, "width": 64, "height": 64, "sampler_name": "Euler a"}


def drawn(client: TestClient, kind: str, **body: Any) -> list[Pixels]:
    reply = client.post(f"/sdapi/v1/{kind}", json=SMALL | body)
    assert reply.status_code == 200, reply.text
    opened = (Image.open(io.BytesIO(base64.b64decode(text))) for text in reply.json()["images"])
    return [np.asarray(image.convert("RGB"), np.int16) for image in opened]


def sent(name: str) -> str:
    return base64.b64encode((INPUTS / name).read_bytes()).decode()


PHOTO = {"init_images": [sent("photo64.png")], "denoising_strength": 0.6}
MASKED = PHOTO | {"mask": sent("mask64_circle.png"), "inpaint_full_res": False}
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("txt2img", {}),
    ("txt2img", {"sampler_name": "DPM++ SDE"}),
    ("txt2img", {"enable_hr": True, "hr_upscaler": "Latent", "denoising_strength": 0.7}),
    ("txt2img", {"prompt": "a car <lora:tinylora:1>", "subseed": 4, "subseed_strength": 0.3}),
    ("img2img", PHOTO),
    ("img2img", MASKED | {"inpainting_fill": 2}),
]


@pytest.mark.parametrize(("kind", "body"), KINDS, ids=range(len(KINDS)))
def test_an_image_is_the_same_at_any_place_of_a_batch(
    kind: str, body: dict[str, Any], client: TestClient
) -> None:
    third = drawn(client, kind, **(body | {"seed": 10, "batch_size": 3}))[2]
    # variations keep the seed and count the variation seed
    own = {"seed": 10, "subseed": 6} if "subseed" in body else {"seed": 12}
    (alone,) = drawn(client, kind, **(body | own))
    assert np.abs(third - alone).max() <= 1


def test_a_tiled_picture_goes_on_at_its_borders(client: TestClient) -> None:
    """The step over the border is no larger than those inside, which without tiling it is."""

    def seam(picture: Pixels) -> float:
        inside = np.abs(np.diff(picture, axis=1)).mean(axis=(0, 2))
        border = np.abs(picture[:, 0] - picture[:, -1]).mean()
        return float(border / np.percentile(inside, 95))

    tiled = [seam(each) for each in drawn(client, "txt2img", seed=1, n_iter=4, tiling=True)]
    plain = [seam(each) for each in drawn(client, "txt2img", seed=1, n_iter=4)]
    assert np.mean(tiled) < 1.5
    assert np.mean(plain) > 3 * np.mean(tiled)


@pytest.mark.parametrize("fill", [0, 1, 2, 3])
@pytest.mark.parametrize("only_masked", [False, True])
@pytest.mark.parametrize("sampler", ["Euler", "DDIM"])
def test_what_is_outside_the_mask_is_as_it_was(
    fill: int, only_masked: bool, sampler: str, client: TestClient
) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[24:48, 16:40] = 255
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    body = MASKED | {"mask": base64.b64encode(file.getvalue()).decode(), "mask_blur": 0}
    body |= {"inpainting_fill": fill, "inpaint_full_res": only_masked, "seed": 3}
    (after,) = drawn(client, "img2img", **(body | {"sampler_name": sampler}))
    before = np.asarray(Image.open(INPUTS / "photo64.png").convert("RGB"), np.int16)
    outside = mask == 0
    assert np.array_equal(after[outside], before[outside])
    assert np.abs(after[~outside] - before[~outside]).mean() > 5


def test_tiling_and_networks_end_with_their_job(client: TestClient) -> None:
    (before,) = drawn(client, "txt2img", seed=7)
    drawn(client, "txt2img", seed=7, tiling=True, prompt="a car <lora:tinylora:1>")
    (after,) = drawn(client, "txt2img", seed=7)
    assert np.array_equal(before, after)
