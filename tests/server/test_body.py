"""Replies as bytes: what stood there before, made of pictures that are written beside the loop."""

import base64
import io
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel

from server.body import encoded, json_with, listed, quoted
from server.options import Options
from server.schemas.extras import ExtrasBatchImagesResponse, ExtrasSingleImageResponse
from server.schemas.generation import GenerationReply
from server.schemas.progress import ProgressReply, ProgressState, TaskProgress
from server.workers import Workers

from .fakes import image

PICTURES = [b"aGVsbG8=", b"d29ybGQ="]
TEXTS = [each.decode() for each in PICTURES]
ECHO: dict[str, Any] = {
    "prompt": 'é 日本 "images":null [] "images":[]',
    "seed": -1,
    "cfg_scale": 7.0,
    "eta": None,
    "alwayson_scripts": {"images": None, "x": [1, 2.5, {"image": []}]},
}
TOLD = {"parameters": ECHO, "info": json.dumps({"prompt": "é", "images": None})}
DONE = {"html_info": '<p>"image":null "images":[]</p>'}


def picture(level: int = 0) -> Image.Image:
    return Image.fromarray(image(level=level).pixels)


def opened(text: bytes) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    made = Workers()
    yield made
    made.close()


@pytest.mark.parametrize(("fmt", "kind"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP")])
async def test_pictures_are_written_in_the_servers_format(
    workers: Workers, fmt: str, kind: str
) -> None:
    writing, _ = Options.defaults().with_overrides({"samples_format": fmt})
    (text,) = await encoded([(picture(level=200), "hello")], writing, workers)
    assert opened(text).format == kind
    assert abs(int(np.asarray(opened(text)).mean()) - 200) <= 3


async def test_pictures_keep_their_order_and_each_its_infotext(workers: Workers) -> None:
    shown = [(picture(level), f"number {level}" if level % 2 else None) for level in range(40)]
    texts = await encoded(shown, Options.defaults(), workers)
    assert [opened(text).getpixel((0, 0)) for text in texts] == [(i, i, i) for i in range(40)]
    assert [opened(text).info.get("parameters") for text in texts] == [told for _, told in shown]


async def test_the_pictures_of_a_batch_are_written_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together = threading.Barrier(2, timeout=10)
    loop, seen = threading.get_ident(), set[int]()

    def meeting(*asked: Any) -> bytes:
        together.wait()
        seen.add(threading.get_ident())
        return b"x"

    monkeypatch.setattr("server.body.encode", meeting)
    monkeypatch.setattr("server.workers._WRITERS", 2)
    two, workers = [(picture(), None), (picture(), None)], Workers()
    assert await encoded(two, Options.defaults(), workers) == [b"eA==", b"eA=="]
    workers.close()
    assert len(seen) == 2
    assert loop not in seen


async def test_a_picture_may_be_written_twice_at_once(workers: Workers) -> None:
    writing, _ = Options.defaults().with_overrides({"samples_format": "jpg"})
    twice = picture(100)
    texts = await encoded([(twice, str(number)) for number in range(64)], writing, workers)
    assert {opened(text).size for text in texts} == {twice.size}


STATE = {"progress": 1e-7, "eta_relative": 1e22, "state": ProgressState(), "textinfo": "é"}
TASK = {"active": True, "queued": False, "completed": False, "id_live_preview": 3}
URI = "data:image/png;base64,"


@pytest.mark.parametrize(
    ("kind", "told", "field", "empty", "full", "pieces"),
    [
        (GenerationReply, TOLD, "images", None, TEXTS, [*listed(PICTURES)]),
        (GenerationReply, TOLD, "images", [], TEXTS[:1], [*listed(PICTURES[:1])]),
        (GenerationReply, TOLD, "images", None, [], [*listed([])]),
        (ExtrasSingleImageResponse, DONE, "image", None, TEXTS[0], [*quoted(PICTURES[0])]),
        (ExtrasSingleImageResponse, DONE, "image", None, None, [b"null"]),
        (ExtrasBatchImagesResponse, DONE, "images", [], TEXTS, [*listed(PICTURES)]),
        (ProgressReply, STATE, "current_image", None, TEXTS[0], [*quoted(PICTURES[0])]),
        (
            TaskProgress,
            TASK,
            "live_preview",
            None,
            URI + TEXTS[0],
            [b'"', URI.encode(), PICTURES[0], b'"'],
        ),
    ],
)
def test_the_json_is_to_the_byte_what_the_schema_writes(
    kind: type[BaseModel],
    told: dict[str, Any],
    field: str,
    empty: object,
    full: object,
    pieces: list[bytes],
) -> None:
    whole = kind(**told, **{field: full}).model_dump_json().encode()
    assert json_with(kind(**told, **{field: empty}), field, *pieces) == whole
