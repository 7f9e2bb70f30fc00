"""Embeddings hidden in pictures: in a text chunk and in the pixels."""

import base64
import io
import itertools
import json
import time
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from models.embeddings.pictures import MAX_JSON_BYTES, TEXT_CHUNK, BadPicture, read_hidden

from .made import VECTORS, trained


def as_json(fields: object) -> bytes:
    def listed(tensor: Tensor) -> dict[str, object]:
        return {"TORCHTENSOR": tensor.tolist()}

    return json.dumps(fields, default=listed).encode()


def picture(width: int = 48, height: int = 32) -> Image.Image:
    noise = np.random.default_rng(1).integers(1, 255, (height, width, 3), np.uint8)
    return Image.fromarray(noise | 1)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def with_text(text: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text(TEXT_CHUNK, text)
    return saved(picture(), pnginfo=info)


def whitening() -> Iterator[int]:
    """The lower bits of a linear congruential generator, one by one."""
    state = 0
    while True:
        state = (1664525 * state + 1013904223) % 2**32
        yield state % 255 & 0x0F


def in_pixels(raw: bytes, image: Image.Image) -> Image.Image:
    """Hide bytes in blocks beside a picture, as webui does, under a pattern in their upper bits."""
    height = image.height
    columns = -(-len(raw) // (3 * height))
    data = np.frombuffer(raw.ljust(columns * height * 3, b"\0"), np.uint8)
    noise = np.fromiter(itertools.islice(whitening(), data.size), np.uint8, data.size)
    blocks = [
        ((half ^ noise) | 0x50).reshape(height, columns, 3) for half in (data & 0x0F, data >> 4)
    ]
    black = np.zeros((height, 1, 3), np.uint8)
    low, high = blocks
    return Image.fromarray(np.hstack([low, black, np.asarray(image), black, high]))


def compressed(fields: object) -> bytes:
    return zlib.compress(as_json(fields), 9)


def test_the_text_chunk_is_read() -> None:
    found = read_hidden(with_text(base64.b64encode(as_json(trained(name="n"))).decode()))
    assert found is not None
    vectors: Any = found["string_to_param"]
    assert torch.equal(vectors["*"], VECTORS)
    assert found["name"] == "n"


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True, "exact": True})]
)
def test_the_pixels_are_read(kind: str, options: dict[str, Any]) -> None:
    hidden = in_pixels(compressed(trained(name="n")), picture())
    found = read_hidden(saved(hidden, kind, **options))
    assert found is not None
    vectors: Any = found["string_to_param"]
    assert torch.equal(vectors["*"], VECTORS)


def test_black_columns_within_the_picture_do_not_matter() -> None:
    image = picture()
    image.paste((0, 0, 0), (10, 0, 20, 32))
    assert read_hidden(saved(in_pixels(compressed(trained()), image))) is not None


def test_plain_pictures_hide_nothing() -> None:
    striped = picture()
    striped.paste((0, 0, 0), (10, 0, 11, 32))
    striped.paste((0, 0, 0), (37, 0, 38, 32))
    plain = (picture(), striped, Image.new("RGB", (9, 9)), Image.new("L", (9, 9), 200))
    assert [read_hidden(saved(image)) for image in plain] == [None] * 4
    assert read_hidden(saved(picture(), "WEBP")) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"no json",
        b"[1, 2]",
        b'{"a": {"TORCHTENSOR": [[1, 2], [3]]}}',
        b'{"a": {"TORCHTENSOR": ["x"]}}',
        b'{"a": {"TORCHTENSOR": null}}',
        b'{"a": {"TORCHTENSOR": [1' + b"0" * 400 + b"]}}",
        b"[" * 100_000,
        b'{"TORCHTENSOR": [1.0]}',
        b"\xff\xfe",
    ],
)
def test_damaged_json_is_refused(raw: bytes) -> None:
    with pytest.raises(BadPicture, match="damaged"):
        read_hidden(with_text(base64.b64encode(raw).decode()))


@pytest.mark.parametrize("text", ["", "===", "é" * 9])
def test_text_that_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(BadPicture):
        read_hidden(with_text(text))


def test_damaged_pictures_are_refused() -> None:
    content = with_text(base64.b64encode(as_json(trained())).decode())
    for broken in (b"no picture", content[:40], content[: len(content) // 2]):
        with pytest.raises(BadPicture, match="no picture that can be read"):
            read_hidden(broken)


def test_huge_pictures_are_not_unpacked() -> None:
    with pytest.raises(BadPicture, match="5000x5000 pixels"):
        read_hidden(saved(Image.new("1", (5000, 5000))))


def test_pixels_that_unpack_without_end_are_left() -> None:
    bomb = zlib.compress(b" " * (MAX_JSON_BYTES + 1), 9)
    start = time.thread_time()
    assert read_hidden(saved(in_pixels(bomb, picture()))) is None
    assert time.thread_time() - start < 2
