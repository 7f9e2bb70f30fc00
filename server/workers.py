"""Threads for the work of extensions and for writing pictures: nothing else waits for those."""

import asyncio
import contextlib
import contextvars
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

_THREADS = 4
"""Pieces of work at a time; what is more waits, so that memory is bounded too."""

_NICER = 10
"""By how much they stand back behind the threads that paint and answer, where cores are short."""


_WRITERS = min(os.cpu_count() or 1, 16)
"""Pictures that are written at a time: one a core, since that is computing and no waiting."""


class Workers:
    """Three pools: for hooks and routes, for what these in their turn hand on, for replies.

    The second is apart because work that waits for work of its own pool would wait for ever, the
    third because no job's beginning is to wait on the common pool for the pictures of others.
    """

    def __init__(self, threads: int = _THREADS) -> None:
        """At most `threads` pieces of extensions' work at a time, and as many beside."""
        self._first = ThreadPoolExecutor(threads, "extension", _stand_back)
        self._beside = ThreadPoolExecutor(threads, "beside", _stand_back)
        self._writing = ThreadPoolExecutor(_WRITERS, "writing")

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """What `work` gives, when its turn has come; in the context of who asks (its log)."""
        run = contextvars.copy_context().run
        return await asyncio.get_running_loop().run_in_executor(self._first, run, work, *arguments)

    def beside(self, work: Callable[[], T]) -> "Future[T]":
        """Have `work` done on another thread; called from one of the first pool."""
        return self._beside.submit(contextvars.copy_context().run, work)

    async def write(self, work: Callable[[], T]) -> T:
        """What `work` gives: a picture as bytes, or a reply."""
        return await asyncio.get_running_loop().run_in_executor(self._writing, work)

    def close(self) -> None:
        """Take nothing more up; what runs ends by itself."""
        for pool in (self._first, self._beside, self._writing):
            pool.shutdown(wait=False, cancel_futures=True)


def _stand_back() -> None:
    """Lower the priority of this thread, and of those that libraries start from it."""
    if sys.platform == "linux":
        # a thread's own there; elsewhere it would be that of the whole process
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICER)
