"""A client that hangs up is noticed; one that stays is not disturbed."""

import asyncio
from typing import Any

from fastapi import Request

from server.disconnect import on_disconnect


def request(messages: "asyncio.Queue[dict[str, Any]]") -> Request:
    return Request({"type": "http", "headers": []}, messages.get)


async def test_the_end_of_the_connection_is_acted_on() -> None:
    messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    acted = asyncio.Event()
    async with on_disconnect(request(messages), acted.set):
        messages.put_nowait({"type": "http.request"})
        await asyncio.sleep(0.01)
        assert not acted.is_set()
        messages.put_nowait({"type": "http.disconnect"})
        async with asyncio.timeout(10):
            await acted.wait()


async def test_a_client_that_waits_is_served() -> None:
    messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    acted = asyncio.Event()
    async with on_disconnect(request(messages), acted.set):
        await asyncio.sleep(0)
    messages.put_nowait({"type": "http.disconnect"})
    await asyncio.sleep(0.01)
    assert not acted.is_set()
