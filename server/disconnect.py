"""A client that hangs up frees what worked for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import Request

from pipelines.watch import Watch


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


@asynccontextmanager
async def cancelled_on_disconnect(request: Request, watch: Watch) -> AsyncIterator[None]:
    """Cancel the job of `watch` when the client of `request` closes its connection meanwhile."""
    async with on_disconnect(request, watch.cancel):
        yield
