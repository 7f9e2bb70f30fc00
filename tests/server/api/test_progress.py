"""Progress, interrupt and skip, on jobs whose progress the test makes."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from pipelines.watch import Watch
from server.app import create_app
from server.jobs import Job
from server.services import Services
from server.settings import parse

IDLE = {
    "progress": 0.0,
    "eta_relative": 0.0,
    "state": {
        "skipped": False,
        "interrupted": False,
        "stopping_generation": False,
        "job": "",
        "job_count": 0,
        "job_timestamp": "0",
        "job_no": 0,
        "sampling_step": 0,
        "sampling_steps": 0,
    },
    "current_image": None,
    "textinfo": None,
}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[FastAPI]:
    """An app whose lifespan is not run: no device, and jobs are the test's own."""
    yield create_app(parse(["--data-dir", str(tmp_path)]))


@asynccontextmanager
async def calling(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def job_with(app: FastAPI, stack: AsyncExitStack, watch: Watch, kind: str = "txt2img") -> Job:
    services: Services = app.state.services
    return await stack.enter_async_context(services.jobs.accepted(kind, watch, None))


async def test_idle(app: FastAPI) -> None:
    async with calling(app) as client:
        assert (await client.get("/sdapi/v1/progress")).json() == IDLE


async def test_a_job_that_waits_has_begun_nothing(app: FastAPI) -> None:
    async with calling(app) as client, AsyncExitStack() as stack:
        await job_with(app, stack, Watch(batch_count=2, steps=10))
        reply = (await client.get("/sdapi/v1/progress")).json()
        assert reply["progress"] == 0.01
        assert reply["state"]["job_count"] == -1
        assert reply["state"]["job"] == "scripts_txt2img"


async def test_progress_counts_batches_and_steps(app: FastAPI) -> None:
    async with calling(app) as client, AsyncExitStack() as stack:
        watch = Watch(batch_count=2, steps=10)
        job = await job_with(app, stack, watch)
        watch.begin()
        watch.begin_batch(1)
        watch.stepped(5, denoised=object())
        reply = (await client.get("/sdapi/v1/progress")).json()
        assert reply["progress"] == pytest.approx(0.01 + 1 / 2 + 5 / 20)
        assert reply["state"] == IDLE["state"] | {  # type: ignore[operator]
            "job": "Batch 2 out of 2",
            "job_count": 2,
            "job_no": 1,
            "job_timestamp": job.timestamp,
            "sampling_step": 5,
            "sampling_steps": 10,
        }
        assert reply["eta_relative"] >= 0
    async with calling(app) as client:
        assert (await client.get("/sdapi/v1/progress")).json() == IDLE


async def test_the_preview_is_drawn_for_those_who_look(app: FastAPI) -> None:
    async with calling(app) as client, AsyncExitStack() as stack:
        watch = Watch(batch_count=1, steps=10, preview_every=2)
        await job_with(app, stack, watch)
        watch.begin()
        watch.stepped(3, denoised=object())
        await client.get("/sdapi/v1/progress", params={"skip_current_image": "true"})
        assert not watch.preview_due()
        first = (await client.get("/sdapi/v1/progress")).json()
        assert first["current_image"] is None
        assert watch.preview_due()
        watch.show(np.zeros((2, 8, 8, 3), np.uint8))
        second = (await client.get("/sdapi/v1/progress")).json()
        assert second["current_image"].startswith("iVBORw0KGgo")


async def test_interrupt_and_skip_reach_the_running_job(app: FastAPI) -> None:
    async with calling(app) as client, AsyncExitStack() as stack:
        running, waiting = Watch(batch_count=2, steps=4), Watch(batch_count=1, steps=4)
        await job_with(app, stack, running)
        await job_with(app, stack, waiting)
        running.begin()

        assert (await client.post("/sdapi/v1/skip")).json() is None
        assert running.progress().skipped
        assert not running.interrupted
        assert (await client.post("/sdapi/v1/interrupt")).json() == {}
        assert running.interrupted
        assert not waiting.interrupted
        state = (await client.get("/sdapi/v1/progress")).json()["state"]
        assert (state["interrupted"], state["skipped"]) == (True, True)


async def test_stopping_nothing_is_no_error_and_touches_no_waiting_job(app: FastAPI) -> None:
    async with calling(app) as client, AsyncExitStack() as stack:
        assert (await client.post("/sdapi/v1/interrupt")).json() == {}
        waiting = Watch(batch_count=1, steps=4)
        await job_with(app, stack, waiting)
        assert (await client.post("/sdapi/v1/interrupt")).json() == {}
        assert not waiting.interrupted


async def test_two_passes_count_twice(app: FastAPI) -> None:
    async with calling(app) as client, AsyncExitStack() as stack:
        watch = Watch(batch_count=2, steps=10, passes=2)
        await job_with(app, stack, watch)
        watch.begin()
        watch.begin_batch(1)
        watch.end_pass()
        watch.begin_pass(20)
        watch.stepped(5, denoised=object())
        reply = (await client.get("/sdapi/v1/progress")).json()
        assert reply["progress"] == pytest.approx(0.01 + 3 / 4 + 5 / 20 / 4)
        assert reply["state"]["job"] == "Batch 2 out of 2"
        assert (reply["state"]["job_count"], reply["state"]["job_no"]) == (4, 3)
        assert reply["state"]["sampling_steps"] == 20


@pytest.mark.parametrize("kind", ["txt2img", "img2img"])
async def test_a_job_is_named_by_its_kind(app: FastAPI, kind: str) -> None:
    async with calling(app) as client, AsyncExitStack() as stack:
        watch = Watch(batch_count=1, steps=10)
        await job_with(app, stack, watch, kind)
        watch.begin()
        reply = (await client.get("/sdapi/v1/progress")).json()
        assert reply["state"]["job"] == f"scripts_{kind}"


async def test_the_plans_of_a_script_are_one_job(app: FastAPI) -> None:
    async with calling(app) as client, AsyncExitStack() as stack:
        watch = Watch()
        await job_with(app, stack, watch)
        watch.expect_plans(2)
        shares = []
        for _ in range(2):
            watch.begin_plan(batch_count=2, passes=1, steps=10, preview_every=0)
            watch.begin()
            for index in range(2):
                watch.begin_batch(index)
                watch.stepped(5, denoised=object())
                shares.append((await client.get("/sdapi/v1/progress")).json()["progress"])
                watch.end_pass()
        assert shares == pytest.approx([0.01 + share for share in (0.125, 0.375, 0.625, 0.875)])


async def test_a_job_without_a_plan_yet_has_begun_nothing(app: FastAPI) -> None:
    """Between its acceptance and its plan a job knows no numbers."""
    async with calling(app) as client, AsyncExitStack() as stack:
        await job_with(app, stack, Watch())
        reply = (await client.get("/sdapi/v1/progress")).json()
        assert reply["progress"] == 0.01
