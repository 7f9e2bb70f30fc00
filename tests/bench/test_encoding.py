"""What a reply costs to be written: `pytest -m bench tests/bench/test_encoding.py -s`.

Milliseconds are a thread's own, the best of three, so that company on the machine does not count;
but for those of whole replies.
"""

import asyncio
import base64
import io
import json
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from pipelines.generate import Generated, GeneratedImage
from server.app import create_app
from server.imagecodec import Encoding, encode, in_base64
from server.packing import strategy
from server.settings import parse
from tests.server.calling import calling

pytestmark = pytest.mark.bench

SIDE = 1024
_TICK_S = 0.001
TEXT = "a cat\nSteps: 20"
Way = Callable[[Image.Image], bytes]


def painting(side: int = SIDE) -> Image.Image:
    """Soft colours under a little grain, much as models paint."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 255, (64, 64, 3), np.uint8))
    soft = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).astype(int)
    grain = random.integers(-4, 5, soft.shape)
    return Image.fromarray((soft + grain).clip(0, 255).astype(np.uint8))


def drawn(folder: Path) -> Image.Image:
    """What the demo draws at 512x512."""
    body = {"prompt": "a red circle on a blue background", "steps": 20, "seed": 1}
    app = create_app(parse(["--data-dir", str(folder), "--use-cpu", "all"]))
    with TestClient(app) as client:
        reply = client.post("/sdapi/v1/txt2img", json=body).json()
    return Image.open(io.BytesIO(base64.b64decode(reply["images"][0])))


def pillows(level: int, kind: int = zlib.Z_FILTERED) -> Way:
    def write(image: Image.Image) -> bytes:
        file = io.BytesIO()
        image.copy().save(file, "PNG", compress_level=level, compress_type=kind)
        return file.getvalue()

    return write


def ours(encoding: Encoding) -> Way:
    return lambda image: encode(image, TEXT, encoding)


WAYS: dict[str, Way] = {
    "png": ours(Encoding()),
    "png, Pillow's level 1": pillows(1),
    "png, Pillow's level 6": pillows(6),
    "png, Pillow's level 1, run lengths": pillows(1, zlib.Z_RLE),
    "png, Pillow's level 1, no search": pillows(1, zlib.Z_HUFFMAN_ONLY),
    "png, Pillow's level 0": pillows(0),
    "jpg, quality 80": ours(Encoding(format="jpg")),
    "webp, quality 80": ours(Encoding(format="webp")),
    "webp, lossless": ours(Encoding(format="webp", lossless=True)),
}


def measured(work: Callable[[], bytes]) -> tuple[float, bytes]:
    """The milliseconds of a piece of work, and what it makes."""
    taken, made = [], b""
    for _ in range(3):
        start = time.thread_time()
        made = work()
        taken.append(time.thread_time() - start)
    return min(taken) * 1000, made


def test_encoding(tmp_path: Path) -> None:
    for name, image in (("painting", painting()), ("the demo's", drawn(tmp_path))):
        width, height = image.size
        rows = [f"\n{name}, {width}x{height}\n\n| way | ms | KiB |\n|---|---|---|\n"]
        found = {}
        for way, write in WAYS.items():
            taken, data = measured(lambda write=write, image=image: write(image))  # type: ignore[misc]
            found[way] = taken, len(data)
            rows.append(f"| {way} | {taken:.1f} | {len(data) / 1024:.0f} |\n")
        sys.stdout.write("".join(rows))
        fast, small = found["png, Pillow's level 1"], found["png, Pillow's level 6"]
        assert found["png"][0] < fast[0]
        assert found["png"][1] < small[1] * 1.05


def test_packing() -> None:
    picture = in_base64(encode(painting(640), TEXT, Encoding()))
    rows = ["\n| gzip of a reply | MB | ms | share |\n|---|---|---|---|\n"]
    for count in (1, 20):
        body = b'{"images":["' + b'","'.join([picture] * count) + b'"],"info":"{}"}'
        ways = {
            "level 1": (1, zlib.Z_DEFAULT_STRATEGY),
            "level 9": (9, zlib.Z_DEFAULT_STRATEGY),
            "ours": (1, strategy(body)),
        }
        for name, (level, kind) in ways.items():

            def pack(level: int = level, kind: int = kind, body: bytes = body) -> bytes:
                packer = zlib.compressobj(level, wbits=31, strategy=kind)
                return packer.compress(body) + packer.flush()

            taken, packed = measured(pack)
            size, share = len(body) / 1e6, len(packed) / len(body)
            rows.append(f"| {name} | {size:.1f} | {taken:.0f} | {share:.2f} |\n")
    sys.stdout.write("".join(rows))


async def longest_pause(done: asyncio.Event) -> float:
    """How long the event loop did not come round, at most, until `done`."""
    longest, last = 0.0, time.perf_counter()
    while not done.is_set():
        await asyncio.sleep(_TICK_S)
        now = time.perf_counter()
        longest, last = max(longest, now - last - _TICK_S), now
    return longest


async def sent(app: Any, body: dict[str, Any]) -> int:
    """Post JSON as a client that takes gzip; the bytes of the answer."""
    content, size = json.dumps(body).encode(), 0
    messages = iter([{"type": "http.request", "body": content, "more_body": False}])

    async def receive() -> Any:
        for message in messages:
            return message
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        nonlocal size
        size += len(message.get("body", b""))

    path = "/sdapi/v1/txt2img"
    scope = {
        **{"type": "http", "http_version": "1.1", "method": "POST", "scheme": "http"},
        **{"path": path, "raw_path": path.encode(), "query_string": b"", "root_path": ""},
        **{"server": ("test", 80), "client": ("test", 1)},
        "headers": [(b"content-type", b"application/json"), (b"accept-encoding", b"gzip")],
    }
    await app(scope, receive, send)
    return size


async def test_reply(tmp_path: Path) -> None:
    rows = ["\n| reply | MB sent | ms after the last step | longest pause of the loop, ms |\n"]
    rows.append("|---|---|---|---|\n")
    pixels = np.asarray(painting(640))
    async with calling(tmp_path) as called:
        for number, count in enumerate((1, 1, 4, 20), 1):
            asked = {"width": 640, "height": 640, "n_iter": count, "steps": 1}
            answered = asyncio.create_task(sent(called.app, asked))
            await called.submitted(number)
            images = [GeneratedImage(index=i, pixels=pixels) for i in range(count)]
            done, start = asyncio.Event(), time.perf_counter()
            pausing = asyncio.create_task(longest_pause(done))
            called.device.submitted[number - 1][2].set_result(Generated(images=images))
            size = await answered
            taken = (time.perf_counter() - start) * 1000
            done.set()
            pause = await pausing * 1000
            name = f"{count} of 640x640"
            rows.append(f"| {name} | {size / 1e6:.1f} | {taken:.0f} | {pause:.1f} |\n")
    sys.stdout.write("".join(rows))
