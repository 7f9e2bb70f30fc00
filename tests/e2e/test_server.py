"""A launched server and real clients."""

import base64
import io
import json
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import webuiapi
from PIL import Image

from .launched import Launched, until

SMALL = {"prompt": "1 girl", "steps": 4, "width": 64, "height": 64, "seed": 1}
LONG = SMALL | {"steps": 1000}


def pixels(text: str) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))), np.int16)


def running(server: Launched) -> bool:
    state: dict[str, Any] = server.get("/sdapi/v1/progress?skip_current_image=true")["state"]
    return bool(state["job_count"] > 0 and state["sampling_step"] > 0)


def idle(server: Launched) -> bool:
    state: dict[str, Any] = server.get("/sdapi/v1/progress?skip_current_image=true")["state"]
    return bool(state["job_count"] == 0)


def test_a_request_sent_before_torch_is_there_is_served(server: Launched) -> None:
    assert pixels(server.post("/sdapi/v1/txt2img", SMALL)["images"][0]).std() > 5


def test_webuiapi_gets_a_picture_with_its_defaults(server: Launched) -> None:
    """All but the size, which would take a minute here."""
    api = webuiapi.WebUIApi(host="127.0.0.1", port=server.port)

    # webuiapi keeps what one call put into its default of this argument for the next
    result = api.txt2img(prompt="1 girl", seed=7, width=128, height=128, alwayson_scripts={})

    assert result.image.size == (128, 128)
    assert np.asarray(result.image).std() > 5
    assert result.info["all_seeds"] == [7]
    assert result.info["sampler_name"] == "Euler a"
    assert "DPM++ SDE" in [sampler["name"] for sampler in api.get_samplers()]
    assert api.util_get_model_names() == [
        "tiny-sd15.safetensors [df30768f29]",
        "tiny-vpred.safetensors",
    ]


def test_webuiapi_repaints_what_is_masked_and_nothing_else(server: Launched) -> None:
    api = webuiapi.WebUIApi(host="127.0.0.1", port=server.port)
    levels = np.random.default_rng(1).integers(0, 256, (96, 96, 3), np.uint8)
    picture, mask = Image.fromarray(levels), np.zeros((96, 96), np.uint8)
    mask[:, 64:] = 255

    result = api.img2img(
        images=[picture],
        mask_image=Image.fromarray(mask),
        mask_blur=0,
        inpaint_full_res=False,
        alwayson_scripts={},
        prompt="a cat <lora:tinylora:0.8>",
        seed=3,
        steps=6,
        width=96,
        height=96,
    )

    drawn = np.asarray(result.image)
    assert np.array_equal(drawn[:, :64], levels[:, :64])
    assert np.abs(drawn[:, 64:].astype(int) - levels[:, 64:]).mean() > 20
    assert "Lora hashes" in result.info["infotexts"][0]


def test_jobs_that_want_other_models_at_once_draw_what_they_draw_alone(server: Launched) -> None:
    """A refiner, networks, tiling and another checkpoint take turns on the device."""
    other = {"override_settings": {"sd_model_checkpoint": "tiny-vpred"}}
    bodies = [
        SMALL | {"refiner_checkpoint": "tiny-vpred", "refiner_switch_at": 0.4},
        SMALL | {"prompt": "a cat <lora:tinylora:1>", "n_iter": 2},
        SMALL | {"tiling": True, "n_iter": 2},
        SMALL | other,
        SMALL,
    ]
    alone = [server.post("/sdapi/v1/txt2img", body)["images"] for body in bodies]
    together: list[Any] = [None] * len(bodies)

    def post(index: int) -> None:
        together[index] = server.post("/sdapi/v1/txt2img", bodies[index])["images"]

    threads = [threading.Thread(target=post, args=(index,)) for index in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    firsts = [pixels(images[0]) for images in alone]
    for before, after in zip(alone, together, strict=True):
        for first, second in zip(before, after, strict=True):
            assert np.abs(pixels(first) - pixels(second)).max() <= 1
    for i, first in enumerate(firsts):
        assert all(np.abs(first - second).mean() > 0.5 for second in firsts[:i]), bodies[i]


def test_a_client_that_is_killed_frees_the_engine(server: Launched) -> None:
    body = json.dumps(LONG | {"n_iter": 100, "width": 256, "height": 256}).encode()
    client = socket.create_connection(("127.0.0.1", server.port))
    head = f"POST /sdapi/v1/txt2img HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    client.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
    until(lambda: running(server))

    client.close()

    until(lambda: idle(server))
    assert pixels(server.post("/sdapi/v1/txt2img", SMALL)["images"][0]).std() > 5


def test_interrupt_answers_with_what_is_there(server: Launched) -> None:
    replies: list[Any] = []
    body = LONG | {"n_iter": 3}
    job = threading.Thread(target=lambda: replies.append(server.post("/sdapi/v1/txt2img", body)))
    job.start()
    until(lambda: running(server))

    assert server.post("/sdapi/v1/interrupt", {}) == {}

    job.join()
    assert len(replies[0]["images"]) == 1
    assert pixels(replies[0]["images"][0]).std() > 5
    assert idle(server)


def test_company_does_not_change_a_picture(server: Launched) -> None:
    """Jobs of different samplers, steps and checkpoints at once draw what they draw alone."""
    bodies = [
        SMALL | {"sampler_name": "Euler a", "steps": 9},
        SMALL | {"sampler_name": "DPM++ SDE", "seed": 2, "cfg_scale": 3},
        SMALL | {"override_settings": {"sd_model_checkpoint": "tiny-vpred"}},
        SMALL | {"sampler_name": "DDIM", "batch_size": 2, "steps": 12},
    ]
    alone = [server.post("/sdapi/v1/txt2img", body)["images"] for body in bodies]
    together: dict[int, list[str]] = {}

    def draw(i: int) -> None:
        together[i] = server.post("/sdapi/v1/txt2img", bodies[i])["images"]

    jobs = [threading.Thread(target=draw, args=(i,)) for i in range(len(bodies))]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()

    for i, images in enumerate(alone):
        assert len(together[i]) == len(images)
        for one, other in zip(images, together[i], strict=True):
            assert np.abs(pixels(one) - pixels(other)).max() <= 1
    assert np.abs(pixels(alone[0][0]) - pixels(alone[2][0])).max() > 10


def test_a_termination_signal_ends_it_cleanly(reference_models: Path, tmp_path: Path) -> None:
    server = Launched(tmp_path / "log", "--data-dir", str(tmp_path / "data"))
    assert server.stop() in (0, -15)
    assert "Traceback" not in server.log.read_text()
