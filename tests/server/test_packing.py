"""Replies compressed: the same bytes to who unpacks them, and no work on the event loop."""

import gzip
import json
import random
import threading
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from server import packing
from server.imagecodec import in_base64
from server.packing import Gzip, strategy

GRAIN = in_base64(random.Random(1).randbytes(300_000))
WORDS = json.dumps({f"setting_{number}": "a word or two" for number in range(20_000)}).encode()
PICTURE = b'{"images":["' + GRAIN + b'"],"parameters":{},"info":"{}"}'


async def get(content: bytes, accept: str = "gzip, deflate, br", pieces: int = 1) -> httpx.Response:
    """What a client is sent of a reply."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert Request(scope).url.path == "/"
        step = -(-len(content) // pieces)

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(content), step):
                yield content[start : start + step]

        whole = Response(content, media_type="application/json")
        await (whole if pieces == 1 else StreamingResponse(chunks()))(scope, receive, send)

    transport = httpx.ASGITransport(Gzip(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get("/", headers={"Accept-Encoding": accept})


@pytest.mark.parametrize("content", [PICTURE, WORDS, b"x" * 1000], ids=["picture", "words", "x"])
@pytest.mark.parametrize("pieces", [1, 3])
async def test_who_can_unpack_gets_the_same_in_fewer_bytes(content: bytes, pieces: int) -> None:
    answer = await get(content, pieces=pieces)
    assert answer.content == content
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    if pieces == 1:
        sent = int(answer.headers["content-length"])
        assert sent < len(content) * (0.76 if content is PICTURE else 0.2)


@pytest.mark.parametrize(("content", "accept"), [(PICTURE, "identity"), (b"x" * 999, "gzip")])
async def test_others_get_it_as_it_is(content: bytes, accept: str) -> None:
    answer = await get(content, accept)
    assert answer.content == content
    assert "content-encoding" not in answer.headers
    assert answer.headers["content-length"] == str(len(content))


@pytest.mark.parametrize("content", [PICTURE, WORDS], ids=["picture", "words"])
@pytest.mark.parametrize("pieces", [1, 3])
async def test_large_replies_are_not_packed_on_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, content: bytes, pieces: int
) -> None:
    seen: list[threading.Thread] = []

    def told(body: bytes) -> int:
        seen.append(threading.current_thread())
        return strategy(body)

    monkeypatch.setattr(packing, "strategy", told)
    await get(content, pieces=pieces)
    assert len(seen) == 1
    assert seen[0] is not threading.current_thread()


def test_the_search_for_repetitions_is_left_out_where_there_are_none() -> None:
    assert strategy(PICTURE) == zlib.Z_HUFFMAN_ONLY
    assert strategy(WORDS) == zlib.Z_DEFAULT_STRATEGY
    # a picture of one colour repeats itself in base64, too
    assert strategy(b'{"images":["' + b"QUFB" * 10_000 + b'"]}') == zlib.Z_DEFAULT_STRATEGY


def test_base64_packed_by_its_letters_alone_is_no_larger() -> None:
    plain = zlib.compressobj(1, wbits=31)
    searched = plain.compress(PICTURE) + plain.flush()
    letters = zlib.compressobj(1, wbits=31, strategy=strategy(PICTURE))
    packed = letters.compress(PICTURE) + letters.flush()
    assert gzip.decompress(packed) == PICTURE
    assert len(packed) <= len(searched)
