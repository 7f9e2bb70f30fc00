"""Threads for extensions: bounded, in the asker's context, and never waiting for themselves."""

import asyncio
import threading
import time
from concurrent.futures import Future

import structlog

from server.workers import Workers


async def test_as_many_work_at_a_time_as_there_are_threads() -> None:
    workers, lock, running, most = Workers(2), threading.Lock(), 0, 0

    def work(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return number * number

    done = await asyncio.gather(*(workers.run(work, number) for number in range(8)))
    assert done == [0, 1, 4, 9, 16, 25, 36, 49]
    assert most == 2
    workers.close()


async def test_work_may_wait_for_what_it_hands_on() -> None:
    workers = Workers(1)

    def work() -> int:
        handed: Future[int] = workers.beside(lambda: 6 * 7)
        return handed.result(10)

    assert await asyncio.wait_for(workers.run(work), 20) == 42
    workers.close()


async def test_the_log_of_the_asker_goes_along() -> None:
    workers = Workers(1)
    with structlog.contextvars.bound_contextvars(job="seven"):
        first = await workers.run(structlog.contextvars.get_contextvars)
        beside = await workers.run(
            lambda: workers.beside(structlog.contextvars.get_contextvars).result(10)
        )
    assert (first["job"], beside["job"]) == ("seven", "seven")
    workers.close()
