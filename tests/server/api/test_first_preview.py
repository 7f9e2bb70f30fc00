"""The first live preview is waited for, by any number of polls, and not for long."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.watch import Watch

from ..calling import Called, calling

PIXELS = np.zeros((1, 8, 8, 3), np.uint8)
PROGRESS = "/sdapi/v1/progress"


@asynccontextmanager
async def sampling(folder: Path, every: int = 1, step: int = 1) -> AsyncIterator[tuple[Any, Watch]]:
    """A client, and the watch of a job that is at `step`."""
    async with calling(folder) as called:
        watch = Watch(batch_count=1, steps=10, preview_every=every)
        async with called.services.jobs.accepted("txt2img", watch, "mine"):
            watch.begin()
            watch.begin_pass(10)
            watch.stepped(step, denoised="latents")
            yield called, watch


async def due(watch: Watch) -> None:
    async with asyncio.timeout(10):
        while not watch.preview_due():
            await asyncio.sleep(0.001)


async def test_a_thousand_first_polls_cost_one_drawing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []

    def preview(pixels: Any, options: Any) -> bytes:
        time.sleep(0.05)
        encoded.append(len(pixels))
        return b"text"

    monkeypatch.setattr("server.reply.preview", preview)
    async with sampling(tmp_path) as (called, watch):
        polls = [asyncio.create_task(called.get(PROGRESS)) for _ in range(1000)]
        await due(watch)
        # the event loop is free while they wait
        assert await called.get("/internal/ping") == {}
        assert not any(poll.done() for poll in polls)
        await asyncio.to_thread(watch.show, PIXELS)
        replies = await asyncio.gather(*polls)
        assert [reply["current_image"] for reply in replies] == ["text"] * 1000
        assert not watch.preview_due()
    assert encoded == [1]


async def test_the_page_s_own_poll_waits_too(tmp_path: Path) -> None:
    async with sampling(tmp_path) as (called, watch):
        body = {"id_task": "mine", "live_preview": True, "id_live_preview": -1}
        poll = asyncio.create_task(called.post("/internal/progress", body))
        await due(watch)
        await asyncio.to_thread(watch.show, PIXELS)
        assert (await poll)["live_preview"].startswith("data:image/png;base64,iVBORw0KGgo")


@pytest.mark.parametrize(
    ("every", "step", "query"),
    [(5, 4, {}), (1, 0, {}), (0, 5, {}), (-1, 5, {}), (1, 5, {"skip_current_image": True})],
    ids=["too early", "no step", "none", "finished ones alone", "not asked for"],
)
async def test_what_is_not_about_to_be_drawn_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int, step: int, query: dict[str, bool]
) -> None:
    monkeypatch.setattr("server.progress.PATIENCE_S", 1000.0)
    async with sampling(tmp_path, every, max(step, 1)) as (called, watch):
        if not step:
            watch.begin_pass(10)
        async with asyncio.timeout(10):
            assert (await called.get(PROGRESS, **query))["current_image"] is None


async def test_later_previews_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.progress.PATIENCE_S", 1000.0)
    async with sampling(tmp_path) as (called, watch):
        watch.show(PIXELS)
        watch.stepped(2, denoised="latents")
        async with asyncio.timeout(10):
            assert (await called.get(PROGRESS))["current_image"] is not None
        assert watch.preview_due()


async def test_a_slow_first_preview_is_told_by_a_later_poll(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.progress.PATIENCE_S", 0.05)
    async with sampling(tmp_path) as (called, watch):
        assert (await called.get(PROGRESS))["current_image"] is None
        watch.show(PIXELS)
        assert (await called.get(PROGRESS))["current_image"] is not None


@pytest.mark.parametrize(
    "happens",
    [
        Watch.end,
        Watch.looked,
        lambda watch: watch.begin_pass(4),
        lambda watch: watch.begin_batch(1),
    ],
    ids=["the job is over", "it cannot be drawn", "another pass", "another batch"],
)
async def test_who_waits_in_vain_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, happens: Callable[[Watch], None]
) -> None:
    monkeypatch.setattr("server.progress.PATIENCE_S", 1000.0)
    async with sampling(tmp_path) as (called, watch):
        poll = asyncio.create_task(called.get(PROGRESS))
        await due(watch)
        # as the device thread does
        threading.Thread(target=happens, args=(watch,)).start()
        async with asyncio.timeout(10):
            assert (await poll)["current_image"] is None


async def test_who_hangs_up_does_not_take_the_preview_from_others(tmp_path: Path) -> None:
    async with sampling(tmp_path) as (called, watch):
        first, second = (asyncio.create_task(_poll(called)) for _ in range(2))
        await due(watch)
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await asyncio.to_thread(watch.show, PIXELS)
        assert (await second)["current_image"] is not None


async def _poll(called: Called) -> Any:
    return await called.get(PROGRESS)
