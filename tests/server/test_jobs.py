"""The queue of jobs, on a device that does what the test says."""

import asyncio

import pytest

from pipelines.generate import Generated
from pipelines.watch import Watch
from server.jobs import JobQueue, QueueFull

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
