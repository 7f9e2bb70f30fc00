"""What the flows of clients share: small requests, pictures, and waiting for a job."""

import base64
import io
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

PAGE = "http://localhost:3456"
"""The origin of a browser client."""

SMALL: Mapping[str, Any] = {"prompt": "1 girl", "steps": 3, "width": 64, "height": 64, "seed": 1}
TXT2IMG, IMG2IMG = "/sdapi/v1/txt2img", "/sdapi/v1/img2img"
OPTIONS, PROGRESS = "/sdapi/v1/options", "/sdapi/v1/progress"

SD15, SD15_HASH = "tiny-sd15.safetensors", "df30768f29"

_PATIENCE_S = 60.0


def opened(text: str) -> Image.Image:
    """The picture of raw base64; a data-URI prefix is an error, as it is to clients."""
    return Image.open(io.BytesIO(base64.b64decode(text, validate=True)))


def levels(text: str) -> NDArray[np.int16]:
    """The grey levels of raw base64."""
    return np.asarray(opened(text), np.int16)


def is_drawn(text: str, size: tuple[int, int] = (64, 64)) -> bool:
    """Whether raw base64 is a PNG of `size` (width, height) with something on it."""
    image = opened(text)
    return image.format == "PNG" and image.size == size and bool(levels(text).std() > 5)


def noise(width: int = 64, height: int = 64) -> NDArray[np.uint8]:
    """A picture that no stretch of which looks like another."""
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def right_half(width: int = 64, height: int = 64) -> NDArray[np.uint8]:
    """A mask that repaints the right half."""
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = 255
    return mask


def encoded(pixels: NDArray[np.uint8], kind: str = "PNG") -> str:
    """`pixels` as a picture file in raw base64."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


def data_uri(pixels: NDArray[np.uint8], kind: str = "PNG") -> str:
    """`pixels` as pages send them."""
    return f"data:image/{kind.lower()};base64,{encoded(pixels, kind)}"


def posted(http: httpx.Client, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a call that works."""
    reply = http.post(path, json=dict(body))
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def info(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The `info` text of an answer, read."""
    assert isinstance(answer["info"], str)
    read: dict[str, Any] = json.loads(answer["info"])
    return read


def title_of(http: httpx.Client, model_name: str) -> str:
    """The title that a checkpoint has now."""
    models = http.get("/sdapi/v1/sd-models").json()
    return str(next(each["title"] for each in models if each["model_name"] == model_name))


def beside(call: Callable[[], Any]) -> Future[Any]:
    """`call` begun in a thread of its own."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(call)
    pool.shutdown(wait=False)
    return future


def until(condition: Callable[[], bool]) -> None:
    """Wait for `condition`; fails the test when it does not come true."""
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def is_idle(http: httpx.Client) -> bool:
    """Whether nothing is drawn, as clients tell it."""
    state = http.get(PROGRESS, params={"skip_current_image": "true"}).json()
    return bool(state["progress"] == 0.0 and state["state"]["job_count"] == 0)


def is_sampling(http: httpx.Client) -> bool:
    """Whether a job has done a step."""
    state = http.get(PROGRESS, params={"skip_current_image": "true"}).json()["state"]
    return bool(state["job_count"] > 0 and state["sampling_step"] > 0)
