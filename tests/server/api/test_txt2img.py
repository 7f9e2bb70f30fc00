"""`POST /sdapi/v1/txt2img` on the reference checkpoints."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

BODY = {"prompt": "1 girl", "steps": 2, "width": 64, "height": 64, "seed": 1}


def picture(text: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def draw(client: TestClient, **fields: Any) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    response = client.post("/sdapi/v1/txt2img", json=BODY | fields)
    assert response.status_code == 200, response.text
    return [picture(text) for text in response.json()["images"]]


def test_pictures_are_plain_base64_png(client: TestClient) -> None:
    reply = client.post("/sdapi/v1/txt2img", json=BODY).json()
    image = Image.open(io.BytesIO(base64.b64decode(reply["images"][0], validate=True)))
    assert (image.format, image.size, image.mode) == ("PNG", (64, 64), "RGB")
    assert np.asarray(image).std() > 5


def test_a_seed_gives_the_same_picture_alone_and_in_a_batch(client: TestClient) -> None:
    batch = draw(client, seed=10, batch_size=2, n_iter=2)
    alone = draw(client, seed=13)
    assert len(batch) == 4
    assert np.abs(batch[3].astype(int) - alone[0]).max() <= 1
    assert np.abs(batch[3].astype(int) - batch[0]).max() > 10


def test_the_prompt_matters(client: TestClient) -> None:
    first, second = draw(client), draw(client, prompt="a red car on the street")
    assert np.abs(first[0].astype(int) - second[0]).max() > 10


def test_no_pictures_are_sent_if_not_wanted(client: TestClient) -> None:
    reply = client.post("/sdapi/v1/txt2img", json=BODY | {"send_images": False}).json()
    assert reply["images"] == []
    assert json.loads(reply["info"])["all_seeds"] == [1]


def test_the_job_is_named_and_warnings_are_told(client: TestClient) -> None:
    body = BODY | {"force_task_id": "task(mine)", "override_settings": {"no_such\nkey": 1}}
    headers = client.post("/sdapi/v1/txt2img", json=body).headers
    assert headers["X-Task-Id"] == "task(mine)"
    assert headers["X-Darkroom-Warning"] == "unknown setting 'no_such\\\\nkey' ignored"
    assert client.post("/sdapi/v1/txt2img", json=BODY).headers["X-Task-Id"].startswith("task(")


def test_the_job_stamp_and_random_seed_are_in_info(client: TestClient) -> None:
    reply = client.post("/sdapi/v1/txt2img", json=BODY | {"seed": -1}).json()
    info = json.loads(reply["info"])
    assert reply["parameters"]["seed"] == -1
    assert info["seed"] >= 0
    assert f"Seed: {info['seed']}," in info["infotexts"][0]
    assert len(info["job_timestamp"]) == 14


def test_a_changed_setting_can_be_kept(client: TestClient) -> None:
    override = {"override_settings": {"jpeg_quality": 63}}
    draw(client, **override)
    assert client.get("/sdapi/v1/options").json()["jpeg_quality"] == 80
    draw(client, **override, override_settings_restore_afterwards=False)
    assert client.get("/sdapi/v1/options").json()["jpeg_quality"] == 63
    client.post("/sdapi/v1/options", json={"jpeg_quality": 80})


def test_too_much_clip_skip_is_an_error_and_the_next_request_is_served(client: TestClient) -> None:
    body = BODY | {"override_settings": {"CLIP_stop_at_last_layers": 99}}
    response = client.post("/sdapi/v1/txt2img", json=body)
    assert response.status_code == 422
    assert "clip skip 99" in response.text
    assert draw(client)[0].shape == (64, 64, 3)


@pytest.mark.parametrize("scheduler", [None, "Karras"])
def test_the_users_own_body(client: TestClient, scheduler: str | None) -> None:
    """The full v1.4.0 body of the user's guide, smaller, with Swagger's placeholders in it."""
    body = {
        **BODY,
        "enable_hr": False,
        "denoising_strength": 0,
        "firstphase_width": 0,
        "firstphase_height": 0,
        "hr_scale": 2,
        "hr_upscaler": "string",
        "hr_sampler_name": "string",
        "styles": ["string"],
        "sampler_name": None,
        "scheduler": scheduler,
        "negative_prompt": "string",
        "eta": 0,
        "s_tmax": 0,
        "s_noise": 1,
        "override_settings": {"sd_model_checkpoint": "tiny-sd15.safetensors [df30768f29]"},
        "script_args": [],
        "sampler_index": "DPM++ 2M SDE",
        "script_name": "string",
        "alwayson_scripts": {},
    }
    response = client.post("/sdapi/v1/txt2img", json=body)
    assert response.status_code == 200, response.text
    info = json.loads(response.json()["info"])
    assert info["sampler_name"] == "DPM++ 2M SDE"
    assert info["sd_model_hash"] == "df30768f29"
    assert f"Schedule type: {scheduler or 'Exponential'}" in info["infotexts"][0]


def told(client: TestClient, **fields: Any) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], str]:
    """The first picture and its infotext."""
    reply = client.post("/sdapi/v1/txt2img", json=BODY | fields).json()
    return picture(reply["images"][0]), json.loads(reply["info"])["infotexts"][0]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tiling": True}, "Tiling: True"),
        ({"prompt": "1 girl<lora:tinylora:1>"}, "Lora hashes"),
        (
            {"refiner_checkpoint": "tiny-vpred", "refiner_switch_at": 0.1},
            "Refiner: tiny-vpred [",
        ),
        ({"override_settings": {"token_merging_ratio": 0.5}}, "Token merging ratio: 0.5"),
        ({"override_settings": {"sd_vae_decode_method": "Approx cheap"}}, "VAE Decoder: Approx"),
    ],
)
def test_what_a_model_wears_is_seen_told_and_off_again(
    client: TestClient, fields: dict[str, Any], said: str
) -> None:
    plain, text = told(client, steps=4)
    assert said not in text
    changed, text = told(client, steps=4, **fields)
    assert said in text
    assert changed.shape != plain.shape or np.abs(changed.astype(int) - plain).max() > 2
    again, _ = told(client, steps=4)
    assert np.array_equal(again, plain)


def test_a_second_pass_on_another_checkpoint(client: TestClient) -> None:
    hires = {"enable_hr": True, "denoising_strength": 0.5, "hr_second_pass_steps": 4}
    same, _ = told(client, **hires)
    other, text = told(client, **hires, hr_checkpoint_name="tiny-vpred")
    assert same.shape == other.shape == (128, 128, 3)
    assert "Hires checkpoint: tiny-vpred [" in text
    assert "Model: tiny-sd15, " in text
    assert np.abs(same.astype(int) - other).max() > 10
    again, _ = told(client, **hires)
    assert np.array_equal(again, same)


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        ({"script_name": "no such script"}, "no such script"),
        ({"alwayson_scripts": {"no such one": {"args": []}}}, "no such one"),
    ],
)
def test_scripts_that_are_not_there_are_refused(
    client: TestClient, fields: dict[str, Any], title: str
) -> None:
    response = client.post("/sdapi/v1/txt2img", json=BODY | fields)
    assert response.status_code == 422
    assert f"Script '{title}' not found" in response.text


@pytest.mark.parametrize("script_name", ["", "None", "none", "string", None])
def test_placeholders_and_stock_scripts_are_no_wishes(
    client: TestClient, script_name: str | None
) -> None:
    stock: dict[str, Any] = {"Seed": {"args": []}, "refiner": {"args": []}}
    found = draw(client, script_name=script_name, alwayson_scripts=stock)
    assert np.array_equal(found[0], draw(client)[0])
