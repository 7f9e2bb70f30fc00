"""A client that hangs up frees what worked for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import Request


@asynccontextmanager
async def on_disconnect(request: Request, act: Callable[[], None]) -> AsyncIterator[None]:
    """Call `act` when the client of `request` closes its connection meanwhile.

    The body must have been read: after it, the only message of the connection is its end.
    """

    async def wait() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        act()

    listening = asyncio.create_task(wait())
    try:
        yield
    finally:
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
