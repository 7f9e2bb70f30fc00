"""The acceptance list that real clients were boiled down to, where no other test has it.

Elsewhere: the user's flow in test_user_guide, options in test_chat_pages and test_webuiapi, 401 in
tests/server/test_auth, prompts in tests/pipelines/prompt, noise in tests/pipelines/test_noise, a
client that is killed in tests/e2e.
"""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from .calls import (
    IMG2IMG,
    OPTIONS,
    PROGRESS,
    SD15_HASH,
    SMALL,
    TXT2IMG,
    beside,
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

LONG = {**SMALL, "steps": 1000}

#: the body with every field that upstream's own tests send
PLACEHOLDERS: dict[str, Any] = {
    "batch_size": 1,
    "cfg_scale": 7,
    "denoising_strength": 0,
    "enable_hr": False,
    "eta": 0,
    "firstphase_height": 0,
    "firstphase_width": 0,
    "height": 64,
    "n_iter": 1,
    "negative_prompt": "",
    "prompt": "example prompt",
    "restore_faces": False,
    "s_churn": 0,
    "s_noise": 1,
    "s_tmax": 0,
    "s_tmin": 0,
    "sampler_index": "Euler a",
    "seed": -1,
    "seed_resize_from_h": -1,
    "seed_resize_from_w": -1,
    "steps": 3,
    "styles": [],
    "subseed": -1,
    "subseed_strength": 0,
    "tiling": False,
    "width": 64,
}


def test_a_prompt_alone_asks_for_50_steps_of_euler_at_512(http: httpx.Client) -> None:
    """Interrupted at its first step, because all of it takes a minute on a processor."""
    job = beside(lambda: posted(http, TXT2IMG, {"prompt": "1 girl"}))
    state: dict[str, Any] = {}

    def has_begun() -> bool:
        state.update(http.get(PROGRESS, params={"skip_current_image": "true"}).json()["state"])
        return bool(state["job_count"] > 0 and state["sampling_steps"] > 0)

    until(has_begun)
    http.post("/sdapi/v1/interrupt")

    answer = job.result()

    (picture,) = answer["images"]
    told = info(answer)
    assert state["sampling_steps"] == 50
    assert is_drawn(picture, (512, 512))
    assert opened(picture).info["parameters"] == told["infotexts"][0]
    assert told["infotexts"][0].startswith("1 girl\nSteps: 50, Sampler: Euler,")


def test_only_the_size_is_asked_of_a_body_of_defaults(http: httpx.Client) -> None:
    schema = http.get("/openapi.json").json()["components"]["schemas"]
    fields = schema["StableDiffusionProcessingTxt2Img"]["properties"]

    answer = posted(http, TXT2IMG, {"width": 64, "height": 64, "steps": 2})

    assert answer["parameters"].keys() == fields.keys()


@pytest.mark.parametrize(
    ("change", "size", "count"),
    [
        ({}, (64, 64), 1),
        ({"enable_hr": True, "denoising_strength": 0}, (128, 128), 1),
        ({"tiling": True}, (64, 64), 1),
        ({"restore_faces": True}, (64, 64), 1),
        ({"sampler_index": "PLMS"}, (64, 64), 1),
        ({"sampler_index": "DDIM"}, (64, 64), 1),
        ({"sampler_index": "UniPC"}, (64, 64), 1),
        ({"n_iter": 2}, (64, 64), 2),
        ({"batch_size": 2}, (64, 64), 2),
        ({"width": 64, "height": 128}, (64, 128), 1),
    ],
    ids=str,
)
def test_bodies_of_upstreams_tests(
    http: httpx.Client, change: Mapping[str, Any], size: tuple[int, int], count: int
) -> None:
    answer = posted(http, TXT2IMG, {**PLACEHOLDERS, **change})

    assert [is_drawn(each, size) for each in answer["images"]] == [True] * count


@pytest.mark.parametrize("path", [TXT2IMG, IMG2IMG])
def test_an_echo_with_all_its_fields_and_nulls_is_a_body(http: httpx.Client, path: str) -> None:
    picture = {"init_images": [encoded(noise())]} if path == IMG2IMG else {}
    first = posted(http, path, {**SMALL, **picture})

    again = posted(http, path, {**first["parameters"], **picture})

    assert again["parameters"] == first["parameters"]
    assert np.abs(levels(again["images"][0]) - levels(first["images"][0])).max() <= 1


@pytest.mark.parametrize("inverted", [False, True])
def test_a_mask_says_what_is_repainted(http: httpx.Client, inverted: bool) -> None:
    body = {
        **SMALL,
        "init_images": [encoded(noise())],
        "mask": encoded(right_half()),
        "mask_blur": 0,
        "inpaint_full_res": False,
        "inpainting_mask_invert": inverted,
    }

    drawn = levels(posted(http, IMG2IMG, body)["images"][0])

    left = np.abs(drawn[:, :32] - noise()[:, :32]).mean()
    right = np.abs(drawn[:, 32:] - noise()[:, 32:]).mean()
    kept, painted = (right, left) if inverted else (left, right)
    assert kept == 0
    assert painted > 10


def test_sd_upscale_takes_its_upscaler_by_name(http: httpx.Client) -> None:
    script = {"script_name": "sd upscale", "script_args": ["", 8, "Lanczos", 2.0]}

    answer = posted(http, IMG2IMG, {**SMALL, "init_images": [encoded(noise())], **script})

    assert is_drawn(answer["images"][0], (128, 128))


def test_an_unknown_model_is_an_error_that_changes_nothing(http: httpx.Client) -> None:
    before = http.get(OPTIONS).json()

    refused = http.post(OPTIONS, json={"sd_model_checkpoint": "nothing"})

    assert refused.status_code == 500
    assert refused.json() == {
        "error": "RuntimeError",
        "detail": "",
        "body": "",
        "errors": "model 'nothing' not found",
    }
    assert http.get(OPTIONS).json() == before


def test_progress_goes_up_and_back_to_nothing_and_who_waits_is_served(http: httpx.Client) -> None:
    job = beside(lambda: posted(http, TXT2IMG, {**LONG, "n_iter": 3}))
    until(lambda: is_sampling(http))
    waiting = beside(lambda: posted(http, TXT2IMG, SMALL))
    seen = []
    for _ in range(10):
        seen.append(http.get(PROGRESS, params={"skip_current_image": "true"}).json()["progress"])
        time.sleep(0.1)

    http.post("/sdapi/v1/interrupt")

    assert seen == sorted(seen)
    assert 0.01 < seen[0] < seen[-1] < 1
    assert [is_drawn(each) for each in job.result()["images"]] == [True]
    assert is_drawn(waiting.result()["images"][0])
    until(lambda: is_idle(http))


def test_two_clients_with_checkpoints_of_their_own(http: httpx.Client) -> None:
    def draw(model: str) -> dict[str, Any]:
        override = {"sd_model_checkpoint": model, "CLIP_stop_at_last_layers": len(model) - 8}
        return info(posted(http, TXT2IMG, {**SMALL, "override_settings": override}))

    models = ["tiny-sd15", "tiny-vpred"] * 2
    with ThreadPoolExecutor(2) as clients:
        told = list(clients.map(draw, models))

    assert [each["sd_model_name"] for each in told] == models
    assert [each["clip_skip"] for each in told] == [1, 2] * 2
    hashes = {(each["sd_model_name"], each["sd_model_hash"]) for each in told}
    assert len(hashes) == 2
    assert ("tiny-sd15", SD15_HASH) in hashes


ERRORS = [
    (TXT2IMG, {"seed": "x"}, 422, "value is not a valid integer"),
    (TXT2IMG, {"script_name": "x"}, 422, "Script 'x' not found"),
    (IMG2IMG, {}, 404, "Init image not found"),
    (IMG2IMG, {"init_images": ["x"], "mask": "AAAA"}, 500, "Invalid encoded image"),
    (IMG2IMG, {"init_images": ["%%%"]}, 500, "Invalid encoded image"),
    (IMG2IMG, {"init_images": ["http://127.0.0.1/x.png"]}, 500, "Request to local resource"),
    ("/sdapi/v1/nothing", {}, 404, "Not Found"),
    ("/sdapi/v1/samplers", {}, 405, "Method Not Allowed"),
]


@pytest.mark.parametrize(("path", "body", "status", "text"), ERRORS, ids=str)
def test_errors_have_their_status_and_text(
    http: httpx.Client, path: str, body: Mapping[str, Any], status: int, text: str
) -> None:
    refused = http.post(path, json=dict(body))

    assert refused.status_code == status
    assert text in str(refused.json()["detail"])
    assert is_drawn(posted(http, TXT2IMG, SMALL)["images"][0])


def test_the_pictures_of_a_batch_are_those_of_their_seeds(http: httpx.Client) -> None:
    batch = posted(http, TXT2IMG, {**SMALL, "seed": 40, "batch_size": 4})["images"]

    for i, picture in enumerate(batch):
        (alone,) = posted(http, TXT2IMG, {**SMALL, "seed": 40 + i})["images"]
        assert np.abs(levels(alone) - levels(picture)).max() <= 1


def test_a_variation_keeps_the_seed(http: httpx.Client) -> None:
    varied = {"subseed": 9, "subseed_strength": 0.3, "batch_size": 2}

    told = info(posted(http, TXT2IMG, {**SMALL, **varied}))

    assert told["all_seeds"] == [1, 1]
    assert told["all_subseeds"] == [9, 10]


def test_the_version_is_one_that_clients_know(http: httpx.Client) -> None:
    told = info(posted(http, TXT2IMG, SMALL))

    assert told["version"] == "v1.10.1"
    assert told["infotexts"][0].endswith("Version: v1.10.1")


def test_progress_answers_at_once_behind_60_waiting_calls(http: httpx.Client) -> None:
    tiny = {**SMALL, "width": 32, "height": 32}
    with ThreadPoolExecutor(60) as clients:
        calls = [clients.submit(posted, http, TXT2IMG, tiny) for _ in range(60)]
        until(lambda: is_sampling(http))
        took = []
        for _ in range(10):
            begun = time.perf_counter()
            http.get(PROGRESS, params={"skip_current_image": "true"})
            took.append(time.perf_counter() - begun)
        drawn = [call.result()["images"][0] for call in calls]

    # the median: this processor draws at the same time
    assert sorted(took)[5] < 0.5
    assert all(is_drawn(each, (32, 32)) for each in drawn)
