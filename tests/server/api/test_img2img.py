"""`POST /sdapi/v1/img2img` on the reference checkpoints."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def sent(pixels: Pixels) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def slope(turned: bool = False) -> Pixels:
    """A picture that gets lighter to the right, or downwards."""
    ramp = np.broadcast_to(np.arange(0, 256, 4, dtype=np.uint8), (64, 64))
    plane = ramp.T if turned else ramp
    return np.ascontiguousarray(np.stack([plane, plane[::-1], plane[:, ::-1]], axis=2))


MASK = np.zeros((64, 64), np.uint8)
MASK[:, 32:] = 255
BODY = {
    "prompt": "1 girl",
    "steps": 4,
    "width": 64,
    "height": 64,
    "seed": 1,
    "init_images": [sent(slope())],
}


def post(client: TestClient, **fields: Any) -> dict[str, Any]:
    response = client.post("/sdapi/v1/img2img", json=BODY | fields)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def draw(client: TestClient, **fields: Any) -> list[Pixels]:
    texts = post(client, **fields)["images"]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text in texts]


def difference(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(int) - other).max())


def test_pictures_come_with_their_infotext(client: TestClient) -> None:
    answer = post(client)
    assert answer["parameters"]["init_images"] is None
    image = Image.open(io.BytesIO(base64.b64decode(answer["images"][0], validate=True)))
    assert (image.format, image.size, image.mode) == ("PNG", (64, 64), "RGB")
    (text,) = json.loads(answer["info"])["infotexts"]
    assert image.info["parameters"] == text
    assert "Denoising strength: 0.75" in text


@pytest.mark.parametrize("sampler", ["Euler a", "DDIM", "DPM++ 2M SDE"])
@pytest.mark.parametrize("mask", [None, sent(MASK)])
def test_a_seed_gives_the_same_picture_alone_and_in_a_batch(
    client: TestClient, sampler: str, mask: str | None
) -> None:
    more = {"sampler_name": sampler, "mask": mask, "inpainting_fill": 1, "inpaint_full_res": False}
    batch = draw(client, seed=10, batch_size=2, n_iter=2, **more)
    assert len(batch) == 4
    for place in (1, 3):
        (alone,) = draw(client, seed=10 + place, **more)
        assert difference(batch[place], alone) <= 1
    assert difference(batch[0], batch[1]) > 10


def test_every_image_of_a_batch_begins_with_its_own_picture(client: TestClient) -> None:
    pictures = [sent(slope()), sent(slope(turned=True))]
    together = draw(client, init_images=pictures, batch_size=2, denoising_strength=0.3)
    for place, picture in enumerate(pictures):
        (alone,) = draw(client, init_images=[picture], denoising_strength=0.3, seed=1 + place)
        assert difference(together[place], alone) <= 1


def test_more_denoising_leads_further_from_the_picture(client: TestClient) -> None:
    start = draw(client, denoising_strength=0)[0].astype(int)
    far = [
        np.abs(draw(client, denoising_strength=share)[0] - start).mean() for share in (0.3, 0.6, 1)
    ]
    assert far == sorted(far)
    assert far[0] > 0.5


def test_what_is_not_masked_comes_from_the_picture(client: TestClient) -> None:
    (found,) = draw(client, mask=sent(MASK), mask_blur=0, inpaint_full_res=False)
    assert difference(found[:, :32], slope()[:, :32]) == 0
    assert difference(found[:, 32:], slope()[:, 32:]) > 10


def test_a_masked_area_can_be_drawn_at_full_size(client: TestClient) -> None:
    (found,) = draw(client, mask=sent(MASK), mask_blur=0, inpaint_full_res=True)
    assert found.shape == (64, 64, 3)
    assert difference(found[:, :32], slope()[:, :32]) == 0


def test_the_echo_can_have_the_pictures(client: TestClient) -> None:
    answer = post(client, include_init_images=True, mask=sent(MASK))
    assert answer["parameters"]["init_images"] == BODY["init_images"]
    assert answer["parameters"]["mask"] == sent(MASK)


def test_networks_and_tiling_come_off_again(client: TestClient) -> None:
    """Weights are changed in place, so the next plain picture shows what was left on them."""
    (plain,) = draw(client)
    (worn,) = draw(client, prompt="1 girl<lora:tinylora:1>")
    (tiled,) = draw(client, tiling=True)
    assert difference(worn, plain) > 3
    assert difference(tiled, plain) > 3
    assert difference(draw(client)[0], plain) == 0


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"init_images": ["no picture"]}, 500),
        ({"init_images": None}, 404),
        ({"init_images": []}, 500),
        ({"mask": "no picture"}, 500),
        ({"denoising_strength": "much"}, 422),
    ],
)
def test_refusals_and_the_next_request_is_served(
    client: TestClient, fields: dict[str, Any], status: int
) -> None:
    response = client.post("/sdapi/v1/img2img", json=BODY | fields)
    assert response.status_code == status, response.text
    assert draw(client)[0].shape == (64, 64, 3)
