"""`POST /internal/progress`: how far one job is; it is what the reference's own page asks."""

from fastapi import APIRouter, Response

from ..body import json_with
from ..jobs import Job
from ..options import Options
from ..progress import look, read, remark
from ..schemas.progress import ProgressRequest, TaskProgress
from ..services import ServicesDep

router = APIRouter()


@router.post("/internal/progress", response_model=TaskProgress)
async def task_progress(body: ProgressRequest, services: ServicesDep) -> TaskProgress | Response:
    """The progress of the job of that id: running, waiting, over, or not known (yet)."""
    jobs, wanted = services.jobs, body.id_task or ""
    job = jobs.find(wanted)
    if job is not None and jobs.place(job) is None:
        return await _running(job, body, services.options.current)
    over = job is None and (jobs.was_finished(wanted) or jobs.failure(wanted) is not None)
    return TaskProgress(
        active=False,
        queued=job is not None,
        completed=over,
        id_live_preview=-1,
        textinfo=remark(wanted, jobs),
    )


async def _running(job: Job, body: ProgressRequest, options: Options) -> TaskProgress | Response:
    reading = read(job)
    share, seconds = reading.share, reading.seconds
    shown = await look(job, options) if body.live_preview else None
    if shown is not None and shown.number == body.id_live_preview:
        shown = None
    told = TaskProgress(
        active=True,
        queued=False,
        completed=False,
        progress=share,
        eta=seconds / share - seconds if share else None,
        id_live_preview=body.id_live_preview if shown is None else shown.number,
    )
    if shown is None:
        return told
    head = f'"data:image/{shown.format};base64,'.encode()
    content = json_with(told, "live_preview", head, shown.picture, b'"')
    return Response(content, media_type="application/json")
