"""A client that hangs up frees what worked for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request

from pipelines.watch import Watch


@asynccontextmanager
async def cancelled_on_disconnect(request: Request, watch: Watch) -> AsyncIterator[None]:
    """Cancel the job of `watch` when the client of `request` closes its connection meanwhile.

    The body must have been read: after it, the only message of the connection is its end.
    """

    async def wait() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        watch.cancel()

    listening = asyncio.create_task(wait())
    try:
        yield
    finally:
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
