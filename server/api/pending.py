"""`GET /internal/pending-tasks`: which jobs wait."""

from fastapi import APIRouter

from ..services import ServicesDep

router = APIRouter()


@router.get("/internal/pending-tasks")
async def pending_tasks(services: ServicesDep) -> dict[str, int | list[str]]:
    """The ids of the jobs that wait, oldest first; what runs is not among them."""
    tasks = [job.id for job in services.jobs.waiting]
    return {"size": len(tasks), "tasks": tasks}
