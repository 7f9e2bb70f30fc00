"""The queue of jobs, on a device that does what the test says."""

import asyncio

import numpy as np
import pytest
from fastapi import Response

from pipelines.generate import Generated
from pipelines.watch import Watch
from server.jobs import Job, JobQueue, QueueFull
from server.kept import Outcome

from .fakes import MODEL, FakeDevice, image, plan


def watch() -> Watch:
    return Watch(batch_count=1, steps=4)


async def until_submitted(device: FakeDevice, count: int) -> None:
    while len(device.submitted) < count:
        await asyncio.sleep(0)


async def test_a_job_waits_for_the_device_and_gives_its_pictures() -> None:
    jobs, device = JobQueue(limit=0), FakeDevice()
    async with jobs.accepted("txt2img", watch(), None) as job:
        running = asyncio.create_task(jobs.run(job, plan()))
        await asyncio.sleep(0)
        assert not device.submitted

        jobs.ready(device)
        await until_submitted(device, 1)
        drawn = Generated(images=[image()])
        device.submitted[0][2].set_result(drawn)

        assert await running is drawn
    assert jobs.jobs == ()
    assert jobs.was_finished(job.id)


async def test_a_failing_job_raises_its_error_and_is_forgotten() -> None:
    jobs, device = JobQueue(limit=0), FakeDevice()
    jobs.ready(device)
    with pytest.raises(ZeroDivisionError, match="by nought"):
        async with jobs.accepted("txt2img", watch(), "mine") as job:
            running = asyncio.create_task(jobs.run(job, plan()))
            await until_submitted(device, 1)
            device.submitted[0][2].set_exception(ZeroDivisionError("by nought"))
            await running
    assert jobs.jobs == ()
    assert not jobs.was_finished("mine")


async def test_a_device_that_cannot_come_up_answers_every_job() -> None:
    jobs = JobQueue(limit=0)
    jobs.failed(ImportError("no torch"))
    with pytest.raises(ImportError, match="no torch"):
        async with jobs.accepted("txt2img", watch(), None) as job:
            await jobs.run(job, plan())
    with pytest.raises(ImportError, match="no torch"):
        await jobs.load(MODEL)


async def test_the_queue_is_bounded() -> None:
    jobs = JobQueue(limit=1)
    async with jobs.accepted("txt2img", watch(), None):
        with pytest.raises(QueueFull, match="1 jobs"):
            async with jobs.accepted("txt2img", watch(), None):
                pytest.fail("accepted one too many")
    async with jobs.accepted("txt2img", watch(), None) as job:
        assert jobs.jobs == (job,)


async def test_current_is_the_oldest_that_runs() -> None:
    jobs = JobQueue(limit=0)
    assert jobs.current is None
    async with (
        jobs.accepted("txt2img", watch(), "first") as first,
        jobs.accepted("txt2img", watch(), "second") as second,
    ):
        assert jobs.current is first
        second.watch.begin()
        assert jobs.current is second
        first.watch.begin()
        assert jobs.current is first
        assert jobs.find("second") is second
        assert jobs.find("third") is None


async def test_ids_are_the_clients_or_of_the_wires_shape() -> None:
    jobs = JobQueue(limit=0)
    async with (
        jobs.accepted("txt2img", watch(), "task(mine)") as named,
        jobs.accepted("txt2img", watch(), None) as first,
        jobs.accepted("txt2img", watch(), None) as second,
    ):
        assert named.id == "task(mine)"
        assert first.id.startswith("task(txt2img-")
        assert len(first.id) == len("task(txt2img-)") + 7
        assert first.id != second.id


async def test_loading_goes_to_the_device() -> None:
    jobs, device = JobQueue(limit=0), FakeDevice()
    jobs.ready(device)
    await jobs.load(MODEL)
    assert device.loaded == [MODEL]
    assert jobs.device_memory() == {"error": "no device"}


async def test_closing_cancels_what_is_there() -> None:
    jobs, device = JobQueue(limit=0), FakeDevice()
    assert "error" in jobs.device_memory()
    jobs.ready(device)
    async with jobs.accepted("txt2img", watch(), None) as job:
        jobs.close()
        assert job.watch.cancelled
    assert device.closed


async def test_who_is_refused_learns_how_long_a_job_takes() -> None:
    jobs, told = JobQueue(limit=1), []
    for seconds in (0.1, 8.5, 1000.0, 0.1):
        job = jobs.accept("txt2img", watch(), None, None)
        with pytest.raises(QueueFull) as refused:
            jobs.accept("txt2img", watch(), None, None)
        told.append(refused.value.retry_after)
        job.accepted -= seconds
        jobs.end(job, None)
    assert told == [5, 1, 5, 60]


async def test_how_a_job_ended_is_remembered_until_another_of_its_id() -> None:
    jobs = JobQueue(limit=0)
    for error, told in ((KeyError("x"), "'x'"), (RuntimeError(), "RuntimeError")):
        jobs.end(jobs.accept("txt2img", watch(), "mine", None), error)
        assert (jobs.failure("mine"), jobs.was_finished("mine")) == (told, False)
    jobs.end(jobs.accept("txt2img", watch(), "mine", None), None)
    assert (jobs.failure("mine"), jobs.was_finished("mine")) == (None, True)
    assert (jobs.failure("other"), jobs.was_finished("other")) == (None, False)
    for number in range(1024):
        jobs.end(jobs.accept("txt2img", watch(), f"{number}", None), None)
    assert not jobs.was_finished("mine")
    assert jobs.was_finished("0")


async def test_a_job_that_is_over_shows_nothing() -> None:
    jobs = JobQueue(limit=0)
    job = jobs.accept("txt2img", watch(), None, None)
    job.watch.show(np.zeros((1, 8, 8, 3), np.uint8))
    jobs.end(job, None)
    assert jobs.last is job
    assert job.watch.want_preview() is None


async def test_only_a_job_that_is_asked_for_later_leaves_its_outcome() -> None:
    jobs = JobQueue(limit=0)
    outcome = Outcome.of(Response("x"))
    plain = jobs.accept("txt2img", watch(), "plain", None)
    named = jobs.accept("txt2img", watch(), "named", "digest")
    left = jobs.accept("txt2img", watch(), "left", None)
    left.detached = True
    for job in (plain, named, left):
        jobs.end(job, None, outcome)
    found = [jobs.kept.find(job.id) is not None for job in (plain, named, left)]
    assert found == [False, True, True]


def test_the_last_client_that_leaves_cancels_unless_none_is_needed() -> None:
    for detached in (False, True):
        job = Job(id="a", kind="txt2img", watch=watch(), clients=2, detached=detached)
        job.leave()
        assert not job.watch.cancelled
        job.leave()
        assert job.watch.cancelled != detached


async def test_errands_end_with_the_server() -> None:
    jobs, ended = JobQueue(limit=0), asyncio.Event()

    async def errand() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    jobs.beside(errand())
    await asyncio.sleep(0)
    assert not ended.is_set()
    jobs.close()
    async with asyncio.timeout(10):
        await ended.wait()
