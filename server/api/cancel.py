"""`POST /internal/cancel`: drop a job, whether it waits or runs."""

from fastapi import APIRouter

from ..errors import ApiError
from ..schemas.progress import CancelRequest
from ..services import ServicesDep

router = APIRouter()


@router.post("/internal/cancel")
async def cancel(body: CancelRequest, services: ServicesDep) -> dict[str, str]:
    """Drop the job of that id; who waits for it is answered that it was cancelled."""
    job = services.jobs.find(body.id_task)
    if job is None:
        raise ApiError(404, f"no job {body.id_task[:200]!r} waits or runs")
    job.watch.cancel()
    return {"id_task": job.id}
