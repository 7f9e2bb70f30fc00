"""Threads for the work of extensions, so that however long it takes nothing else waits for it."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

_THREADS = 4
"""Pieces of work at a time; what is more waits, so that memory is bounded too."""


class Workers:
    """Two pools: one for hooks and routes, one for what these in their turn hand on.

    They are apart because work that waits for work of its own pool would wait for ever.
    """

    def __init__(self, threads: int = _THREADS) -> None:
        """At most `threads` pieces of work at a time, and as many beside."""
        self._first = ThreadPoolExecutor(threads, thread_name_prefix="extension")
        self._beside = ThreadPoolExecutor(threads, thread_name_prefix="beside")

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """What `work` gives, when its turn has come; in the context of who asks (its log)."""
        run = contextvars.copy_context().run
        return await asyncio.get_running_loop().run_in_executor(self._first, run, work, *arguments)

    def beside(self, work: Callable[[], T]) -> "Future[T]":
        """Have `work` done on another thread; called from one of the first pool."""
        return self._beside.submit(contextvars.copy_context().run, work)

    def close(self) -> None:
        """Take nothing more up; what runs ends by itself."""
        for pool in (self._first, self._beside):
            pool.shutdown(wait=False, cancel_futures=True)
