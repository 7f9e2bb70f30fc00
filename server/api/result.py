"""`GET /internal/result/{id}`: the reply to a job that its client did not wait for."""

from fastapi import APIRouter, Request, Response

from .. import submission
from ..errors import ApiError
from ..services import ServicesDep

router = APIRouter()


@router.get(submission.RESULT + "{id_task:path}")
async def result(id_task: str, request: Request, services: ServicesDep) -> Response:
    """What the job was answered with, be it an error; 202 while it is not over.

    It is kept for a while, for jobs handed in with `wait=false` or an id of the client's own.
    """
    if services.jobs.find(id_task) is not None:
        return submission.submitted(id_task, request)
    outcome = services.jobs.kept.find(id_task)
    if outcome is None:
        raise ApiError(404, f"no reply is kept of a job {id_task[:200]!r}")
    return outcome.response()
