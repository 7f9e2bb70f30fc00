"""What the reference's own page asks: a job by its id, and which jobs wait."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.watch import Watch
from server.jobs import Job

from ..calling import Called
from ..calling import calling as called
from ..wire import recorded

PROGRESS = "/internal/progress"


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Called]:
    async with called(tmp_path) as app:
        yield app


async def job_with(here: Called, stack: AsyncExitStack, name: str, watch: Watch) -> Job:
    return await stack.enter_async_context(here.services.jobs.accepted("txt2img", watch, name))


async def asked(here: Called, name: str, **more: Any) -> dict[str, Any]:
    told: dict[str, Any] = await here.post(PROGRESS, {"id_task": name, **more})
    return told


async def test_an_unknown_job_is_waited_for(here: Called) -> None:
    record = recorded("ui_internal_progress_idle")
    assert await here.post(record["path"], record["request"]) == record["response"]


async def test_no_id_is_no_job(here: Called) -> None:
    record = recorded("ui_progress_during_job_bad")
    wanted = recorded("ui_internal_progress_idle")["response"]
    assert await here.post(record["path"], record["request"]) == wanted


async def test_a_running_job_is_told_as_in_the_recording(here: Called) -> None:
    record = recorded("ui_internal_progress_mid_job")
    assert len(record["polls"]) == 6
    seen = -1
    async with AsyncExitStack() as stack:
        watch = Watch(batch_count=1, steps=60, preview_every=10)
        await job_with(here, stack, "task(mine)", watch)
        watch.begin()
        for poll in record["polls"]:
            watch.stepped(round(poll["progress"] * 60), denoised=None)
            if poll["id_live_preview"] != seen:
                watch.show(np.zeros((1, 32, 32, 3), np.uint8))
            told = await asked(here, "task(mine)", id_live_preview=seen)
            seen = told["id_live_preview"]
            assert list(told) == list(poll)
            assert told["progress"] == pytest.approx(poll["progress"])
            assert told["eta"] >= 0
            if poll["live_preview"] is not None:
                assert told["live_preview"].startswith("data:image/png;base64,iVBORw0KGgo")
                told["live_preview"] = poll["live_preview"]
            assert told == poll | {"progress": told["progress"], "eta": told["eta"]}
        assert await here.get("/internal/pending-tasks") == record["pending_tasks"]
    assert await asked(here, "task(mine)") == record["after"]


async def test_what_has_only_begun_has_no_end_in_sight(here: Called) -> None:
    async with AsyncExitStack() as stack:
        watch = Watch(batch_count=1, steps=60)
        await job_with(here, stack, "a", watch)
        watch.begin()
        told = await asked(here, "a")
        assert (told["active"], told["progress"], told["eta"]) == (True, 0.0, None)


async def test_a_picture_is_not_sent_to_those_who_want_none(here: Called) -> None:
    async with AsyncExitStack() as stack:
        watch = Watch(batch_count=1, steps=60, preview_every=1)
        await job_with(here, stack, "a", watch)
        watch.begin()
        watch.show(np.zeros((1, 8, 8, 3), np.uint8))
        told = await asked(here, "a", live_preview=False, id_live_preview=7)
        assert (told["live_preview"], told["id_live_preview"]) == (None, 7)
        here.services.options.set({"live_previews_image_format": "jpeg"}, save=False)
        told = await asked(here, "a", id_live_preview=7)
        assert told["live_preview"].startswith("data:image/jpeg;base64,/9j/")
        assert told["id_live_preview"] == 1


async def test_jobs_that_wait_know_their_place(here: Called) -> None:
    record = recorded("ui_internal_pending_tasks")
    assert await here.get(record["path"]) == record["response"]
    async with AsyncExitStack() as stack:
        first = Watch()
        await job_with(here, stack, "a", first)
        await job_with(here, stack, "b", Watch())
        await job_with(here, stack, "c", Watch())
        assert await here.get(record["path"]) == {"size": 3, "tasks": ["a", "b", "c"]}
        first.begin()
        assert await here.get(record["path"]) == {"size": 2, "tasks": ["b", "c"]}
        told = await asked(here, "c")
        assert (told["active"], told["queued"], told["completed"]) == (False, True, False)
        assert (told["textinfo"], told["id_live_preview"]) == ("In queue: 2/2", -1)


async def test_a_job_that_failed_is_over_and_says_why(here: Called) -> None:
    with pytest.raises(ZeroDivisionError):
        async with AsyncExitStack() as stack:
            await job_with(here, stack, "a", Watch())
            raise ZeroDivisionError("by nought")
    told = await asked(here, "a")
    assert (told["active"], told["queued"], told["completed"]) == (False, False, True)
    assert told["textinfo"] == "error: by nought"
    async with AsyncExitStack() as stack:
        await job_with(here, stack, "a", Watch())
    assert (await asked(here, "a"))["textinfo"] == "Waiting..."
