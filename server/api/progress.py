"""`GET /sdapi/v1/progress`: how far the running job is, and what its picture looks like."""

from fastapi import APIRouter, Response

from ..body import json_with, quoted
from ..jobs import JobQueue
from ..progress import idle, look, read, remark
from ..schemas.progress import ProgressReply, ProgressState
from ..services import ServicesDep

router = APIRouter()

_BEGUN = 0.01


@router.get("/sdapi/v1/progress", response_model=ProgressReply)
async def progress(
    services: ServicesDep, skip_current_image: bool = False, id_task: str | None = None
) -> ProgressReply | Response:
    """The progress of the job of that id, or of the oldest running one; zero where there is none.

    A job that has ended well is at 1 for those who ask for it by its id.
    """
    jobs = services.jobs
    job = jobs.current if id_task is None else jobs.find(id_task)
    if job is None:
        return _over(id_task, jobs)
    reading = read(job)
    done = min(1.0, _BEGUN + reading.share)
    shown = None if skip_current_image else await look(job, services.options.current)
    told = ProgressReply(
        progress=done,
        eta_relative=reading.seconds / done - reading.seconds,
        state=reading.state,
        textinfo=None if id_task is None or job.running else remark(id_task, jobs),
    )
    if shown is None:
        return told
    content = json_with(told, "current_image", *quoted(shown.picture))
    return Response(content, media_type="application/json")


def _over(id_task: str | None, jobs: JobQueue) -> ProgressReply:
    if id_task is None:
        return ProgressReply(progress=0.0, eta_relative=0.0, state=idle(jobs.last))
    well = jobs.was_finished(id_task)
    return ProgressReply(
        progress=1.0 if well else 0.0,
        eta_relative=0.0,
        state=ProgressState(),
        textinfo=None if well else remark(id_task, jobs),
    )
