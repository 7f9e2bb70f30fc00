"""`POST /sdapi/v1/interrupt` and `/skip`: stop the running job, or only its batch."""

from fastapi import APIRouter

from ..services import ServicesDep

router = APIRouter()


@router.post("/sdapi/v1/interrupt")
async def interrupt(services: ServicesDep) -> dict[str, object]:
    """Stop the running job at its next step; its reply holds what is there by then."""
    job = services.jobs.current
    if job is not None and job.running:
        job.watch.interrupt()
    return {}


@router.post("/sdapi/v1/skip")
async def skip(services: ServicesDep) -> None:
    """Stop the batch under way at its next step and go on with the next one."""
    job = services.jobs.current
    if job is not None and job.running:
        job.watch.skip()
