"""`POST /sdapi/v1/interrupt` and `/skip`: stop the running job, or only its batch."""

from fastapi import APIRouter

from pipelines.watch import Watch

from ..jobs import JobQueue
from ..services import ServicesDep

router = APIRouter()


@router.post("/sdapi/v1/interrupt")
async def interrupt(services: ServicesDep, id_task: str | None = None) -> dict[str, object]:
    """Stop the job under way at its next step; its reply holds what is there by then.

    With `id_task` that job is meant, else the one that progress tells of.
    """
    watch = _meant(services.jobs, id_task)
    if watch is not None:
        watch.interrupt()
    return {}


@router.post("/sdapi/v1/skip")
async def skip(services: ServicesDep, id_task: str | None = None) -> None:
    """Stop the batch under way at its next step and go on with the next one."""
    watch = _meant(services.jobs, id_task)
    if watch is not None:
        watch.skip()


def _meant(jobs: JobQueue, id_task: str | None) -> Watch | None:
    """The job that progress tells of: the oldest that runs, else the one that will begin next.

    While nothing is there it is the job that ended last: as in the reference, the state tells of it
    until the next one begins.
    """
    job = jobs.current if id_task is None else jobs.find(id_task)
    if job is not None:
        return job.watch
    return jobs.last.watch if id_task is None and jobs.last is not None else None
