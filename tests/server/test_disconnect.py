"""A client that hangs up cancels its job; one that stays does not."""

import asyncio
from typing import Any

from fastapi import Request

from pipelines.watch import Watch
from server.disconnect import cancelled_on_disconnect


def request(messages: "asyncio.Queue[dict[str, Any]]") -> Request:
    return Request({"type": "http", "headers": []}, messages.get)


async def test_the_end_of_the_connection_cancels() -> None:
    messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    watch = Watch(batch_count=1, steps=1)
    async with cancelled_on_disconnect(request(messages), watch):
        messages.put_nowait({"type": "http.request"})
        messages.put_nowait({"type": "http.disconnect"})
        while not messages.empty():
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert watch.cancelled


async def test_a_client_that_waits_is_served() -> None:
    watch = Watch(batch_count=1, steps=1)
    async with cancelled_on_disconnect(request(asyncio.Queue()), watch):
        await asyncio.sleep(0)
    assert not watch.cancelled
