"""`GET /sdapi/v1/progress`: how far the running job is, and what its picture looks like."""

import asyncio
import time

from fastapi import APIRouter

from .. import reply
from ..jobs import Job
from ..schemas.progress import ProgressReply, ProgressState
from ..services import ServicesDep

router = APIRouter()

_BEGUN = 0.01
_GENERATIONS = ("txt2img", "img2img")


@router.get("/sdapi/v1/progress", response_model=ProgressReply)
async def progress(services: ServicesDep, skip_current_image: bool = False) -> ProgressReply:
    """The oldest running job's progress; all zero while nothing runs."""
    job = services.jobs.current
    if job is None:
        return ProgressReply(progress=0.0, eta_relative=0.0, state=ProgressState())
    state, done, elapsed = _reading(job)
    picture = None
    options = services.options.current
    if options.live_previews_enable and not skip_current_image:
        preview = job.watch.want_preview()
        if preview is not None:
            picture = await asyncio.to_thread(reply.preview, preview.pixels, options)
    return ProgressReply(
        progress=done,
        eta_relative=elapsed / done - elapsed,
        state=state,
        current_image=picture,
    )


def _reading(job: Job) -> tuple[ProgressState, float, float]:
    """The state, the share done (0.01 to 1) and the seconds since the job was taken up."""
    at = job.watch.progress()
    begun = at.started is not None
    title = job.kind
    if job.kind in _GENERATIONS:
        several = begun and at.batch_count > 1
        batch = f"Batch {at.batch + 1} out of {at.batch_count}"
        title = batch if several else f"scripts_{job.kind}"
    state = ProgressState(
        skipped=at.skipped,
        interrupted=at.interrupted,
        job=title,
        job_count=at.batch_count * at.passes if begun else -1,
        job_timestamp=job.timestamp,
        job_no=at.done,
        sampling_step=at.step,
        sampling_steps=at.steps,
    )
    if at.started is None:
        return state, _BEGUN, 0.0
    done = (at.done + at.step / at.steps) / (at.batch_count * at.passes)
    return state, min(1.0, _BEGUN + done), time.monotonic() - at.started
