"""`/sdapi/v1/options`: all settings, and changing some of them."""

import asyncio
from typing import Annotated

import structlog
from fastapi import APIRouter, Body
from fastapi.responses import JSONResponse

from ..choosing import configured_checkpoint, model_choice
from ..errors import UnknownCheckpoint
from ..schemas.lax import LaxDict
from ..schemas.options import OptionsReply
from ..services import Services, ServicesDep

router = APIRouter()

_log = structlog.get_logger(__name__)
_LOGGED_KEYS = 10


@router.get("/sdapi/v1/options", response_model=OptionsReply)
async def get_options(services: ServicesDep) -> JSONResponse:
    """Every setting; `sd_model_checkpoint` is the title of a checkpoint that is there."""
    settings = services.options.current.as_wire()
    checkpoint = configured_checkpoint(services.options.current, services.library.checkpoints)
    settings["sd_model_checkpoint"] = checkpoint.title if checkpoint else ""
    settings["sd_checkpoint_hash"] = (checkpoint.sha256 if checkpoint else None) or ""
    return JSONResponse(settings)


@router.post("/sdapi/v1/options")
async def set_options(
    services: ServicesDep, changes: Annotated[LaxDict, Body(title="Req")]
) -> None:
    """Change the settings named; a new checkpoint is loaded before the answer.

    Raises `UnknownCheckpoint`, `BadOption` or the checkpoint's own error, and then changes nothing.
    """
    services.options.current.with_overrides(changes)
    wanted = changes.get("sd_model_checkpoint")
    if wanted is not None:
        title = await _load(services, str(wanted))
        changes = {**changes, "sd_model_checkpoint": title}
    ignored = await asyncio.to_thread(services.options.set, changes)
    if ignored:
        shown = [key[:80] for key in ignored[:_LOGGED_KEYS]]
        _log.warning("settings ignored", count=len(ignored), keys=shown)


async def _load(services: Services, name: str) -> str:
    """Load the checkpoint of that name unless it is the configured one; its title afterwards."""
    checkpoint = services.library.checkpoints.find(name)
    if checkpoint is None:
        raise UnknownCheckpoint(name)
    configured = configured_checkpoint(services.options.current, services.library.checkpoints)
    if configured is None or checkpoint.path != configured.path:
        current = services.options.current
        options, _ = current.with_overrides({"sd_model_checkpoint": checkpoint.name})
        choice, _ = model_choice(options, options, services.library, tiling=options.tiling)
        await services.jobs.load(choice)
    return (services.library.checkpoints.find(checkpoint.name) or checkpoint).title
