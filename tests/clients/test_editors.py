"""openOutpaint, AI-Render, the Photoshop plugin and SdPaint: programs that paint."""

from typing import Any

import httpx
import numpy as np
import pytest

from .calls import (
    IMG2IMG,
    OPTIONS,
    PAGE,
    PROGRESS,
    SMALL,
    TXT2IMG,
    beside,
    data_uri,
    encoded,
    info,
    is_drawn,
    is_idle,
    is_sampling,
    levels,
    noise,
    opened,
    posted,
    right_half,
    until,
)

ORIGIN = {"Origin": PAGE}


def test_a_browser_asks_first_and_is_allowed(http: httpx.Client) -> None:
    asks = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }

    answer = http.options(TXT2IMG, headers=ORIGIN | asks)

    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "content-type" in answer.headers["Access-Control-Allow-Headers"].lower()
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"


def test_a_page_of_another_origin_is_not_allowed(http: httpx.Client) -> None:
    stranger = {"Origin": "https://evil.example"}

    answer = http.get(OPTIONS, headers=stranger)

    assert "Access-Control-Allow-Origin" not in answer.headers
    assert http.post("/sdapi/v1/interrupt", headers=stranger).status_code == 403


@pytest.mark.parametrize("path", [OPTIONS, PROGRESS, "/sdapi/v1/samplers", "/sdapi/v1/missing"])
def test_a_page_may_read_the_answers(http: httpx.Client, path: str) -> None:
    assert http.get(path, headers=ORIGIN).headers["Access-Control-Allow-Origin"] == PAGE


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{OPTIONS}/", {"send_seed": True}),
        ("/sdapi/v1/extra-single-image/", {"upscaler_1": "None", "image": encoded(noise())}),
    ],
)
def test_a_slash_too_many_is_served(http: httpx.Client, path: str, body: dict[str, Any]) -> None:
    answer = http.post(path, json=body, headers=ORIGIN)

    assert answer.status_code in (200, 307)
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert http.post(path, json=body, headers=ORIGIN, follow_redirects=True).status_code == 200


#: the one body that openOutpaint shares between txt2img and img2img
OPEN_OUTPAINT: dict[str, Any] = {
    "prompt": "1 girl",
    "negative_prompt": "",
    "seed": -1,
    "cfg_scale": None,
    "sampler_index": "DDIM",
    "steps": None,
    "denoising_strength": 1,
    "mask_blur": 0,
    "batch_size": None,
    "width": 64,
    "height": 64,
    "n_iter": 2,
    "mask": "",
    "init_images": [],
    "inpaint_full_res": False,
    "inpainting_fill": 1,
    "outpainting_fill": 2,
    "enable_hr": False,
    "hr_scale": 2,
    "hr_resize_x": 0,
    "hr_resize_y": 0,
    "hr_square_aspect": False,
    "hr_upscaler": "None",
    "styles": [],
}


def test_open_outpaint_dreams(http: httpx.Client) -> None:
    answer = http.post(TXT2IMG, json={**OPEN_OUTPAINT, "steps": 4}, headers=ORIGIN)

    drawn = answer.json()
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert [is_drawn(each) for each in drawn["images"]] == [True, True]
    assert len(info(drawn)["all_seeds"]) == 2
    assert info(drawn)["sampler_name"] == "DDIM"


def test_open_outpaint_paints_what_is_masked(http: httpx.Client) -> None:
    body = OPEN_OUTPAINT | {
        "steps": 4,
        "n_iter": 1,
        "init_images": [data_uri(noise())],
        "mask": data_uri(right_half()),
    }

    drawn = levels(posted(http, IMG2IMG, body)["images"][0])

    assert np.array_equal(drawn[:, :32], noise()[:, :32])
    assert np.abs(drawn[:, 32:] - noise()[:, 32:]).mean() > 10


def test_open_outpaint_shows_what_is_being_drawn(http: httpx.Client) -> None:
    long = OPEN_OUTPAINT | {"steps": 1000, "sampler_index": "Euler a", "cfg_scale": 7}
    job = beside(lambda: posted(http, TXT2IMG, long))
    until(lambda: is_sampling(http))

    told: dict[str, Any] = {}

    def shows_a_picture() -> bool:
        told.update(http.get(PROGRESS).json())
        return told["current_image"] is not None

    until(shows_a_picture)

    assert http.post("/sdapi/v1/interrupt", headers=ORIGIN).json() == {}
    # as large as "Approx NN" makes it there: a quarter of each side
    assert opened(told["current_image"]).size == (16, 16)
    assert 0.0 < told["progress"] < 1.0
    assert len(job.result()["images"]) == 1
    until(lambda: is_idle(http))


def test_open_outpaint_reads_the_upscalers_from_an_error(http: httpx.Client) -> None:
    body = {"resize-mode": 0, "upscaling_resize": "2", "upscaler_1": "fake_upscaler", "image": ""}

    told = http.post("/sdapi/v1/extra-single-image/", json=body, follow_redirects=True)

    text = told.json()["detail"]
    listed = [name.strip() for name in text.split("needs to be one of these: ")[1].split(" , ")]
    assert listed == [each["name"] for each in http.get("/sdapi/v1/upscalers").json()]


def test_open_outpaint_reads_settings_of_the_page(http: httpx.Client) -> None:
    settings = http.get(OPTIONS).json()

    assert not settings.get("use_scale_latent_for_hires_fix")
    assert settings["img2img_color_correction"] is False
    assert settings["inpainting_mask_weight"] == 1.0


@pytest.mark.parametrize("sampler", ["DPM++ 2M Karras", "PLMS", "LMS", "Euler a", "DDIM"])
def test_ai_render_draws_a_rendered_scene(http: httpx.Client, sampler: str) -> None:
    body = {
        "prompt": "1 girl",
        "init_images": [data_uri(noise())],
        "denoising_strength": 0.6,
        "steps": 4,
        "width": 64,
        "height": 64,
        "seed": 1,
        "cfg_scale": 7,
        "sampler_index": sampler,
    }
    headers = {"Accept-Encoding": "gzip, deflate, br", "Accept": "application/json"}

    answer = http.post(IMG2IMG, json=body, headers=headers)

    assert answer.headers["Content-Encoding"] == "gzip"
    assert is_drawn(answer.json()["images"][0])
    assert info(answer.json())["sampler_name"] == sampler.removesuffix(" Karras")


def test_ai_render_is_told_what_is_missing(http: httpx.Client) -> None:
    for path in ("/controlnet/model_list", "/controlnet/module_list"):
        answer = http.get(path, timeout=5)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
    unit = {"ControlNet": {"args": [{"module": "canny", "model": "control_canny"}]}}
    body = {**SMALL, "init_images": [data_uri(noise())], "alwayson_scripts": unit}

    refused = http.post(IMG2IMG, json=body)

    assert refused.status_code == 422
    assert "Script 'ControlNet' not found" in refused.json()["detail"]


def test_the_photoshop_plugin_reads_back_what_it_drew(http: httpx.Client) -> None:
    """It splits the last line at commas and colons, and reads every reply as JSON."""
    assert http.post(OPTIONS, json={"sd_model_checkpoint": "tiny-sd15"}).json() is None
    assert http.get("/config").json()["components"]
    assert http.get(PROGRESS, params={"skip_current_image": "false"}).json()["progress"] == 0
    unknown = {"selection_info": {"left": 0}, "uniqueDocumentId": "x", "is_lasso_mode": False}
    drawn = posted(http, TXT2IMG, {**SMALL, "sampler_name": "Euler a", **unknown})

    picture = f"data:image/png;base64,{drawn['images'][0]}"
    told = posted(http, "/sdapi/v1/png-info", {"image": picture})["info"]

    pairs = dict(part.strip().split(": ") for part in told.split("\n")[-1].split(","))
    assert (pairs["Steps"], pairs["Seed"], pairs["Sampler"]) == ("3", "1", "Euler a")
    assert http.post("/sdapi/v1/interrupt").json() == {}


def test_sd_paint_writes_everything_as_text(http: httpx.Client) -> None:
    texts = {
        "enable_hr": "false",
        "tiling": "False",
        "steps": "3",
        "width": "64",
        "height": "64",
        "seed": "5",
        "cfg_scale": "7.5",
        "denoising_strength": "0.6",
        "sampler_name": "DPM++ 2M Karras",
    }
    drawn = posted(http, IMG2IMG, {"prompt": 1, "init_images": [encoded(noise())], **texts})

    assert is_drawn(drawn["images"][0])
    assert drawn["parameters"]["prompt"] == "1"
    assert drawn["parameters"]["steps"] == 3
    assert drawn["parameters"]["tiling"] is False
    assert info(drawn)["seed"] == 5
