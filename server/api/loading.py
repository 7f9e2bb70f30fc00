"""`POST /sdapi/v1/unload-checkpoint` and `/reload-checkpoint`: free the device, fill it again."""

from fastapi import APIRouter

from ..choosing import model_choice
from ..services import ServicesDep

router = APIRouter()


@router.post("/sdapi/v1/unload-checkpoint")
async def unload_checkpoint(services: ServicesDep) -> dict[str, object]:
    """Free the device at once, or when the jobs that run are done; the next job loads anew.

    So do tools and extensions, whose sessions are let go of too.
    """
    services.sessions.clear()
    await services.jobs.unload()
    return {}


@router.post("/sdapi/v1/reload-checkpoint")
async def reload_checkpoint(services: ServicesDep) -> dict[str, object]:
    """Load the configured checkpoint in its turn; answers when it is on the device."""
    options = services.options.current
    choice, _ = model_choice(options, options, services.library, tiling=options.tiling)
    await services.jobs.load(choice)
    return {}
