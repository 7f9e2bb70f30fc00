"""Progress, interrupt and skip, on jobs whose progress the test makes."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from pipelines.watch import Watch
from server.app import create_app
from server.jobs import Job
from server.services import Services
from server.settings import parse

from ..wire import recorded

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


async def test_the_preview_is_drawn_for_those_who_look(app: FastAPI) -> None:
    async with calling(app) as client, AsyncExitStack() as stack:
        watch = Watch(batch_count=1, steps=10, preview_every=2)
        await job_with(app, stack, watch)
        watch.begin()
        watch.stepped(3, denoised=object())
        await client.get("/sdapi/v1/progress", params={"skip_current_image": "true"})
        assert not watch.preview_due()
        poll = asyncio.create_task(client.get("/sdapi/v1/progress"))
        async with asyncio.timeout(10):
            while not watch.preview_due():
                await asyncio.sleep(0.001)
        await asyncio.to_thread(watch.show, np.zeros((2, 8, 8, 3), np.uint8))
        assert (await poll).json()["current_image"].startswith("iVBORw0KGgo")


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


async def test_stopping_means_the_job_that_progress_tells_of_and_no_other(app: FastAPI) -> None:
    async with calling(app) as client, AsyncExitStack() as stack:
        assert (await client.post("/sdapi/v1/interrupt")).json() == {}
        first, second = Watch(batch_count=1, steps=4), Watch(batch_count=1, steps=4)
        await job_with(app, stack, first)
        await job_with(app, stack, second)
        second.begin()  # the oldest that runs goes before the oldest
        assert (await client.post("/sdapi/v1/interrupt")).json() == {}
        assert (first.interrupted, second.interrupted) == (False, True)
        assert (await client.get("/sdapi/v1/progress")).json()["state"]["interrupted"] is True


async def test_a_job_that_has_not_begun_can_be_stopped(app: FastAPI) -> None:
    async with calling(app) as client, AsyncExitStack() as stack:
        accepted = Watch(batch_count=1, steps=4)
        await job_with(app, stack, accepted)
        assert (await client.get("/sdapi/v1/progress")).json()["progress"] > 0
        assert (await client.post("/sdapi/v1/interrupt")).json() == {}
        assert accepted.interrupted


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


def driven(watch: Watch, state: dict[str, Any], passes: int = 1) -> None:
    """Bring a watch to where the reference was when it told `state`."""
    watch.begin_plan(
        batch_count=state["job_count"] // passes,
        passes=passes,
        steps=state["sampling_steps"],
        preview_every=10,
    )
    watch.begin()
    batch, done = divmod(state["job_no"], passes)
    watch.begin_batch(batch)
    for _ in range(done):
        watch.end_pass()
    watch.begin_pass(state["sampling_steps"])
    watch.stepped(state["sampling_step"], denoised=None)


async def compared(app: FastAPI, poll: dict[str, Any], passes: int = 1, told: str = "") -> None:
    """Ask at the same point as the reference was asked, and compare what can be the same."""
    async with calling(app) as client, AsyncExitStack() as stack:
        watch = Watch()
        await job_with(app, stack, watch)
        driven(watch, poll["state"], passes)
        if told:
            await client.post(f"/sdapi/v1/{told}")
        reply = (await client.get("/sdapi/v1/progress")).json()
    assert list(reply) == list(poll)
    assert list(reply["state"]) == list(poll["state"])
    # the reference takes its readings one after another: a step may pass between them
    a_step = 1.01 / poll["state"]["job_count"] / poll["state"]["sampling_steps"]
    assert reply["progress"] == pytest.approx(poll["progress"], abs=a_step)
    for changing in ("progress", "eta_relative", "current_image"):
        reply.pop(changing), poll.pop(changing)
    reply["state"].pop("job_timestamp"), poll["state"].pop("job_timestamp")
    assert reply == poll


@pytest.mark.parametrize(
    ("name", "passes"), [("progress_mid_job", 1), ("progress_n_iter3_hires", 2)]
)
async def test_progress_is_that_of_the_reference(app: FastAPI, name: str, passes: int) -> None:
    polls = [each for each in recorded(name)["polls"] if each["state"]["sampling_step"]]
    assert len(polls) >= 4
    for poll in polls:
        await compared(app, poll, passes)


@pytest.mark.parametrize("told", ["interrupt", "skip"])
async def test_a_job_told_to_stop_is_that_of_the_reference(app: FastAPI, told: str) -> None:
    await compared(app, recorded(f"{told}_mid_job")["progress_just_after"], told=told)


@pytest.mark.parametrize("name", ["get_progress", "get_progress_skip_current_image"])
async def test_idle_is_that_of_the_reference(app: FastAPI, name: str) -> None:
    record = recorded(name)
    async with calling(app) as client:
        assert (await client.get(record["path"])).json() == record["response"]


async def test_after_a_job_its_numbers_stay(app: FastAPI) -> None:
    wanted = recorded("progress_mid_job")["after_job"]
    async with calling(app) as client, AsyncExitStack() as stack:
        watch = Watch()
        job = await job_with(app, stack, watch)
        driven(watch, wanted["state"] | {"job_count": 1, "job_no": 0})
        watch.end_pass()
        await stack.aclose()
        wanted["state"]["job_timestamp"] = job.timestamp
        assert (await client.get("/sdapi/v1/progress")).json() == wanted


async def test_an_idle_interrupt_is_told_until_the_next_job(app: FastAPI) -> None:
    """As in the recording, but for a server that has had no job yet."""
    async with calling(app) as client, AsyncExitStack() as stack:
        for path in ("interrupt", "skip"):
            await client.post(f"/sdapi/v1/{path}")
        assert (await client.get("/sdapi/v1/progress")).json() == IDLE
        await job_with(app, stack, Watch())
        await stack.aclose()
        for name in ("post_interrupt_idle", "post_skip_idle"):
            record = recorded(name)
            assert (await client.post(record["path"])).json() == record["response"]
        state = (await client.get("/sdapi/v1/progress")).json()["state"]
        wanted = recorded("progress_after_idle_interrupt")["response"]["state"]
        assert state == wanted | {"job_timestamp": state["job_timestamp"]}
        next_one = Watch()
        await job_with(app, stack, next_one)
        next_one.begin()
        state = (await client.get("/sdapi/v1/progress")).json()["state"]
        assert (state["interrupted"], state["skipped"]) == (False, False)


async def test_a_job_is_asked_for_by_its_id(app: FastAPI) -> None:
    async with calling(app) as client, AsyncExitStack() as stack:
        first, second = Watch(batch_count=1, steps=10), Watch(batch_count=1, steps=10)
        await job_with(app, stack, first)
        other = await job_with(app, stack, second)

        async def told() -> tuple[float, str | None]:
            reply = await client.get("/sdapi/v1/progress", params={"id_task": other.id})
            return reply.json()["progress"], reply.json()["textinfo"]

        assert await told() == (0.01, "In queue: 2/2")
        first.begin()
        assert await told() == (0.01, "In queue: 1/1")
        second.begin()
        second.stepped(5, denoised=None)
        assert await told() == (0.51, None)
        assert (await client.get("/sdapi/v1/progress")).json()["progress"] == 0.01
        await client.post("/sdapi/v1/interrupt", params={"id_task": other.id})
        await client.post("/sdapi/v1/skip", params={"id_task": "none"})
        assert (first.stopping, second.stopping) == (False, True)
        await stack.aclose()
        assert await told() == (1.0, None)
        nobody = await client.get("/sdapi/v1/progress", params={"id_task": "none"})
        assert nobody.json() == IDLE | {"textinfo": "Waiting..."}


async def test_a_script_counts_its_plans(app: FastAPI) -> None:
    async with calling(app) as client, AsyncExitStack() as stack:
        watch = Watch()
        await job_with(app, stack, watch)
        watch.expect_plans(3)
        titles = []
        for _ in range(3):
            watch.begin_plan(batch_count=1, passes=1, steps=10, preview_every=0)
            watch.begin()
            watch.begin_batch(0)
            titles.append((await client.get("/sdapi/v1/progress")).json()["state"]["job"])
            watch.end_pass()
        last = (await client.get("/sdapi/v1/progress")).json()
        assert [*titles, last["state"]["job"]] == [
            *(f"{i} out of 3" for i in (1, 2, 3)),
            "3 out of 3",
        ]
        assert last["progress"] == 1.0


async def test_a_preview_is_encoded_once(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []

    def preview(pixels: Any, options: Any) -> bytes:
        encoded.append(len(pixels))
        return b"text"

    monkeypatch.setattr("server.reply.preview", preview)
    async with calling(app) as client, AsyncExitStack() as stack:
        watch = Watch(batch_count=1, steps=10, preview_every=1)
        await job_with(app, stack, watch)
        watch.begin()
        for count in (1, 2):
            watch.show(np.zeros((count, 8, 8, 3), np.uint8))
            for _ in range(3):
                reply = (await client.get("/sdapi/v1/progress")).json()
                assert reply["current_image"] == "text"
    assert encoded == [1, 2]


async def test_without_live_previews_there_is_no_picture(app: FastAPI) -> None:
    services: Services = app.state.services
    services.options.set({"live_previews_enable": False}, save=False)
    async with calling(app) as client, AsyncExitStack() as stack:
        watch = Watch(batch_count=1, steps=10, preview_every=1)
        await job_with(app, stack, watch)
        watch.begin()
        watch.show(np.zeros((1, 8, 8, 3), np.uint8))
        assert (await client.get("/sdapi/v1/progress")).json()["current_image"] is None


async def test_a_poll_does_not_wait_for_the_threads_of_jobs(app: FastAPI) -> None:
    free = threading.Event()
    busy = [asyncio.create_task(asyncio.to_thread(free.wait, 30)) for _ in range(64)]
    async with calling(app) as client, AsyncExitStack() as stack:
        stack.callback(free.set)
        watch = Watch(batch_count=1, steps=10, preview_every=1)
        await job_with(app, stack, watch)
        watch.begin()
        watch.show(np.zeros((1, 8, 8, 3), np.uint8))
        async with asyncio.timeout(10):
            reply = (await client.get("/sdapi/v1/progress")).json()
        assert reply["current_image"].startswith("iVBORw0KGgo")
        free.set()
        await asyncio.gather(*busy)
