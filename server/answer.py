"""A generation request from its acceptance to its reply."""

import asyncio

import structlog
from fastapi import HTTPException, Request, Response
from PIL import Image

from pipelines.watch import Watch

from . import reply
from .choosing import UNSET, network_name
from .disconnect import cancelled_on_disconnect
from .errors import ApiError
from .generation import Drawn, draw
from .infotext_request import filled
from .jobs import Job, QueueFull
from .options import Options
from .schemas.generation import GenerationReply, GenerationRequest
from .services import Services
from .styles import read_styles

log = structlog.get_logger(__name__)

_RETRY_AFTER_S = "5"
#: always-on scripts of a stock webui: their arguments have no effect through the API there either
_STOCK_SCRIPTS = frozenset(
    {"sampler", "seed", "refiner", "comments", "extra options", "hypertile", "soft inpainting"}
)


async def answer(
    kind: str, body: GenerationRequest, request: Request, services: Services
) -> Response:
    """Carry out a request of a route `kind` and answer when its pictures are done."""
    body, lost = await _filled(body, services)
    _check_scripts(body)
    if not body.override_settings_restore_afterwards:
        services.options.set(body.override_settings or {}, save=False)
    try:
        async with services.jobs.accepted(kind, Watch(), body.force_task_id) as job:
            async with cancelled_on_disconnect(request, job.watch):
                drawn = await draw(services, job, body)
            return await _reply(body, drawn, job, services.options.current, lost)
    except QueueFull as error:
        raise HTTPException(503, str(error), {"Retry-After": _RETRY_AFTER_S}) from error


async def _filled(
    body: GenerationRequest, services: Services
) -> tuple[GenerationRequest, tuple[str, ...]]:
    """The request with what its infotext tells, and what that tells in vain."""
    if not body.infotext:
        return body, ()
    styles = await asyncio.to_thread(read_styles, services.settings.styles_file)
    options, library = services.options.current, services.library
    return await asyncio.to_thread(
        filled, body, options, styles, lambda code: network_name(code, options, library)
    )


async def _reply(
    body: GenerationRequest, drawn: Drawn, job: Job, writing: Options, lost: tuple[str, ...]
) -> Response:
    pictures: list[str] = []
    if body.send_images:
        pictures = await asyncio.to_thread(_encoded, drawn, writing)
    said = reply.told(body, drawn.translated, drawn.known, drawn.infotexts)
    content = GenerationReply(
        images=pictures,
        parameters=body.echo(),
        info=reply.info(body, drawn.translated, drawn.known, said, job.timestamp),
    )
    return Response(
        content.model_dump_json(),
        media_type="application/json",
        headers=reply.headers(job.id, lost + drawn.translated.warnings),
    )


def _encoded(drawn: Drawn, writing: Options) -> list[str]:
    """Each picture with its infotext, and what follows it, without."""
    shown: list[tuple[Image.Image, str | None]] = []
    keep = drawn.translated.options.enable_pnginfo
    for picture, text, beside in zip(drawn.pictures, drawn.infotexts, drawn.beside, strict=True):
        shown += [(picture, text if keep else None), *((each, None) for each in beside)]
    return reply.encoded([image for image, _ in shown], [text for _, text in shown], writing)


def _check_scripts(body: GenerationRequest) -> None:
    """Refuse scripts that are not there."""
    if (body.script_name or "") not in UNSET:
        raise ApiError(422, f"Script '{body.script_name}' not found")
    for title in body.alwayson_scripts:
        if title.casefold() not in _STOCK_SCRIPTS:
            raise ApiError(422, f"Script '{title}' not found; none is installed yet")
