"""`POST /sdapi/v1/extra-single-image` and `/extra-batch-images`: work on finished pictures."""

import asyncio
from collections.abc import Sequence

import structlog
from fastapi import APIRouter, HTTPException, Request, Response

from pipelines.watch import Watch

from .. import extras, remote, reply
from ..disconnect import cancelled_on_disconnect
from ..extras import Finished
from ..jobs import QueueFull
from ..schemas.extras import (
    ExtrasBatchImagesRequest,
    ExtrasBatchImagesResponse,
    ExtrasRequest,
    ExtrasSingleImageRequest,
    ExtrasSingleImageResponse,
)
from ..services import Services, ServicesDep

log = structlog.get_logger(__name__)

router = APIRouter()

_RETRY_AFTER_S = "5"


@router.post("/sdapi/v1/extra-single-image", response_model=ExtrasSingleImageResponse)
async def extras_single_image_api(
    body: ExtrasSingleImageRequest, request: Request, services: ServicesDep
) -> Response:
    """Enlarge a picture; answers when it is done."""
    finished, headers = await _finish([body.image], body, request, services)
    content = ExtrasSingleImageResponse(
        html_info=finished.html_info, image=next(iter(finished.images), None)
    )
    return Response(content.model_dump_json(), media_type="application/json", headers=headers)


@router.post("/sdapi/v1/extra-batch-images", response_model=ExtrasBatchImagesResponse)
async def extras_batch_images_api(
    body: ExtrasBatchImagesRequest, request: Request, services: ServicesDep
) -> Response:
    """Enlarge several pictures; answers when all are done, or with those done when interrupted."""
    pictures = [file.data for file in body.image_list]
    finished, headers = await _finish(pictures, body, request, services)
    content = ExtrasBatchImagesResponse(html_info=finished.html_info, images=finished.images)
    return Response(content.model_dump_json(), media_type="application/json", headers=headers)


async def _finish(
    pictures: Sequence[str], body: ExtrasRequest, request: Request, services: Services
) -> tuple[Finished, dict[str, str]]:
    """The work on a worker thread, counted as a job; its result and the reply's own headers."""
    warnings = extras.check(body, services.tools)
    options = services.options.current
    watch = Watch(batch_count=max(len(pictures), 1), steps=1)
    try:
        async with services.jobs.accepted("extras", watch, None) as job:
            for warning in warnings:
                log.warning("not honoured", what=warning)
            pictures = await remote.pictures(pictures, options)
            watch.begin()
            async with cancelled_on_disconnect(request, watch):
                finished = await asyncio.to_thread(
                    extras.finish, pictures, body, services.tools, options, watch
                )
            return finished, reply.headers(job.id, warnings)
    except QueueFull as error:
        raise HTTPException(503, str(error), {"Retry-After": _RETRY_AFTER_S}) from error
