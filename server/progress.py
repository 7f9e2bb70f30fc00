"""How far a job is, in the wire's numbers and words."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import get_args

from fastapi.concurrency import run_in_threadpool

from pipelines.plan import VaeMethod
from pipelines.watch import ONLY_FINISHED, Preview, PreviewContent

from . import reply
from .jobs import Job, JobQueue, Look
from .options import Options
from .schemas.progress import ProgressState
from .vae_methods import FULL

_GENERATIONS = ("txt2img", "img2img")
WAITING = "Waiting..."

PATIENCE_S = 1.0
"""So long a poll waits for a job's first live preview that is about to be drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is under way, the share of it that is done (0 to 1), and the seconds it took."""

    state: ProgressState
    share: float
    seconds: float


def read(job: Job) -> Reading:
    """How far a job is that waits or runs."""
    at = job.watch.progress()
    begun = at.started is not None
    title = job.kind
    if job.kind in _GENERATIONS:
        title = f"scripts_{job.kind}"
        if begun and at.plans > 1:
            title = f"{min(at.batch + 1, at.batch_count)} out of {at.batch_count}"
        elif begun and at.batch_count > 1:
            title = f"Batch {min(at.batch + 1, at.batch_count)} out of {at.batch_count}"
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
        return Reading(state=state, share=0.0, seconds=0.0)
    return Reading(state=state, share=at.share, seconds=time.monotonic() - at.started)


def idle(last: Job | None) -> ProgressState:
    """The state while nothing is there: as in the reference, some numbers of the last job stay."""
    if last is None:
        return ProgressState()
    at = last.watch.progress()
    return ProgressState(
        skipped=at.skipped,
        interrupted=at.interrupted,
        job_timestamp=last.timestamp,
        job_no=at.done,
        sampling_steps=at.steps,
    )


def remark(job_id: str, jobs: JobQueue) -> str | None:
    """What is said of a job of that id that does not run."""
    job = jobs.find(job_id)
    place = None if job is None else jobs.place(job)
    if place is not None:
        return "In queue: {}/{}".format(*place)
    failure = jobs.failure(job_id)
    return WAITING if failure is None else f"error: {failure}"


def preview_settings(options: Options) -> tuple[int, VaeMethod]:
    """Steps between live previews (0: none, or `ONLY_FINISHED`), and how they are drawn.

    As in the reference, no step between them is a preview for everybody who asks, and a method that
    it does not know is the VAE itself.
    """
    wanted = options.show_progress_every_n_steps
    every = ONLY_FINISHED if wanted < 0 else max(wanted, 1)
    methods = get_args(VaeMethod)
    method = next((each for each in methods if each == options.show_progress_type), FULL)
    return every if options.live_previews_enable else 0, method


def preview_content(options: Options) -> PreviewContent:
    """What live previews show; a setting that is not known shows the guided picture."""
    known = get_args(PreviewContent)
    return next((each for each in known if each == options.live_preview_content), "Combined")


async def look(job: Job, options: Options) -> Look | None:
    """The newest live preview as it is sent; asking for it has the next one drawn.

    The first one is waited for where it is due, but not for long. However many ask, it is drawn and
    encoded once.
    """
    if not options.live_previews_enable:
        return None
    preview = job.watch.want_preview()
    looking = job.looking
    if looking is None or looking.done():
        if preview is None and not job.watch.preview_due():
            return None
        if preview is not None and job.look is not None and job.look.number == preview.number:
            return job.look
        looking = job.looking = asyncio.create_task(_looked(job, preview, options))
    # who hangs up does not end it for the others
    await asyncio.wait([looking])
    return looking.result()


async def _looked(job: Job, preview: Preview | None, options: Options) -> Look | None:
    preview = preview or await _first(job)
    if preview is None:
        return None
    # not on the pool where jobs are translated and finished: a poll is not to wait for them
    picture = await run_in_threadpool(reply.preview, preview.pixels, options)
    job.look = Look(
        number=preview.number, picture=picture, format=options.live_previews_image_format.lower()
    )
    return job.look


async def _first(job: Job) -> Preview | None:
    """The first preview, as soon as it is drawn; None where that takes long."""
    shown, loop = asyncio.Event(), asyncio.get_running_loop()

    def tell() -> None:
        # the loop may be gone by then: the server was stopped
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(shown.set)

    job.watch.when_shown(tell)
    with suppress(TimeoutError):
        await asyncio.wait_for(shown.wait(), PATIENCE_S)
    return job.watch.preview
