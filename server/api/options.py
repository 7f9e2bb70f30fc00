"""`/sdapi/v1/options`: all settings, and changing some of them."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Body, Response
from fastapi.responses import JSONResponse

from models.choice import ModelChoice

from ..choosing import configured_checkpoint, model_choice
from ..errors import UnknownCheckpoint
from ..option_table import NOTES
from ..options import Options
from ..schemas.lax import LaxDict
from ..schemas.options import OptionsReply, as_sent
from ..services import Services, ServicesDep

router = APIRouter()

_log = structlog.get_logger(__name__)
_CHECKPOINT = "sd_model_checkpoint"
_OF_MODEL = frozenset({_CHECKPOINT, "sd_vae", "sd_vae_overrides_per_model_preferences"})
"""Settings that say which model is loaded."""
_TOLD_KEYS = 10
_TOLD_LETTERS = 80
_WARNING_LETTERS = 1000


@router.get("/sdapi/v1/options", response_model=OptionsReply)
async def get_options(services: ServicesDep) -> JSONResponse:
    """Every setting; `sd_model_checkpoint` is the title of a checkpoint that is there."""
    settings = as_sent(services.options.current.as_wire())
    # looked up in the folders, which may be on a network's disk
    checkpoint = await asyncio.to_thread(
        configured_checkpoint, services.options.current, services.library.checkpoints
    )
    settings[_CHECKPOINT] = checkpoint.title if checkpoint else ""
    settings["sd_checkpoint_hash"] = (checkpoint.sha256 if checkpoint else None) or ""
    return JSONResponse({**settings, **NOTES})


@router.post("/sdapi/v1/options")
async def set_options(
    services: ServicesDep, changes: Annotated[LaxDict, Body(title="Req")], response: Response
) -> None:
    """Change the settings named; where they mean another model, it is loaded before the answer.

    Raises `UnknownCheckpoint`, `BadOption`, `FrozenOption` or the model's own error, and then
    changes nothing.
    """
    asked = _with_title(services, changes)
    changed, ignored = services.options.current.with_overrides(asked)
    other, unknown = _other_model(services, asked, changed)
    _warn(response, ignored, unknown)
    if other is None:
        await asyncio.to_thread(services.options.set, asked)
        return
    async with services.options.switching:
        # the one before may have loaded what this one asks for
        changed, _ = services.options.current.with_overrides(asked)
        other, _ = _other_model(services, asked, changed)
        if other is not None:
            await services.jobs.load(other)
        await asyncio.to_thread(services.options.set, _with_title(services, asked))


def _with_title(services: Services, changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """`changes` with the checkpoint by its title of now; without it, where none is named.

    Raises `UnknownCheckpoint`.
    """
    name = changes.get(_CHECKPOINT)
    rest = {key: value for key, value in changes.items() if key != _CHECKPOINT}
    if name is None or name == "":
        return rest
    if not isinstance(name, str | int | float):
        return changes
    found = services.library.checkpoints.find(str(name))
    if found is None:
        raise UnknownCheckpoint(str(name))
    options = services.options.current
    same = found == configured_checkpoint(options, services.library.checkpoints)
    if same and options.rules.held_by(_CHECKPOINT):
        return rest
    return {**rest, _CHECKPOINT: found.title}


def _other_model(
    services: Services, changes: Mapping[str, Any], changed: Options
) -> tuple[ModelChoice | None, tuple[str, ...]]:
    """The model to load, where `changes` mean another one; and what of them is not there."""
    library, current = services.library, services.options.current
    if not _OF_MODEL & changes.keys() or library.checkpoints.default() is None:
        return None, ()
    before, _ = model_choice(current, current, library, tiling=changed.tiling)
    after, unknown = model_choice(changed, changed, library, tiling=changed.tiling)
    return (None if after.key == before.key else after), unknown


def _warn(response: Response, ignored: Sequence[str], unknown: Sequence[str]) -> None:
    """Log what has no effect, and tell the client in a header."""
    warnings = list(unknown)
    if ignored:
        shown = ", ".join(key[:_TOLD_LETTERS] for key in ignored[:_TOLD_KEYS])
        warnings.append(f"{len(ignored)} settings ignored: {shown}")
    if warnings:
        text = "; ".join(warnings)
        _log.warning("not honoured", what=text)
        told = text.encode("unicode_escape").decode("ascii")[:_WARNING_LETTERS]
        response.headers["X-Darkroom-Warning"] = told
