"""`POST /sdapi/v1/extra-single-image` and `/extra-batch-images`: work on finished pictures."""

import asyncio
from collections.abc import Callable, Sequence

import structlog
from fastapi import APIRouter, Request, Response

from pipelines.watch import Watch

from .. import extras, remote, reply
from ..extras import Finished
from ..jobs import Job
from ..schemas.extras import (
    ExtrasBatchImagesRequest,
    ExtrasBatchImagesResponse,
    ExtrasRequest,
    ExtrasSingleImageRequest,
    ExtrasSingleImageResponse,
)
from ..services import Services, ServicesDep
from ..submission import Delivery, Wish, submit

log = structlog.get_logger(__name__)

router = APIRouter()


@router.post("/sdapi/v1/extra-single-image", response_model=ExtrasSingleImageResponse)
async def extras_single_image_api(
    body: ExtrasSingleImageRequest, request: Request, services: ServicesDep
) -> Response:
    """Enlarge a picture; answers when it is done."""

    def content(finished: Finished) -> str:
        image = next(iter(finished.images), None)
        told = ExtrasSingleImageResponse(html_info=finished.html_info, image=image)
        return told.model_dump_json()

    return await _answer([body.image], body, request, services, content)


@router.post("/sdapi/v1/extra-batch-images", response_model=ExtrasBatchImagesResponse)
async def extras_batch_images_api(
    body: ExtrasBatchImagesRequest, request: Request, services: ServicesDep
) -> Response:
    """Enlarge several pictures; answers when all are done, or with those done when interrupted."""

    def content(finished: Finished) -> str:
        told = ExtrasBatchImagesResponse(html_info=finished.html_info, images=finished.images)
        return told.model_dump_json()

    pictures = [file.data for file in body.image_list]
    return await _answer(pictures, body, request, services, content)


async def _answer(
    pictures: Sequence[str],
    body: ExtrasRequest,
    request: Request,
    services: Services,
    content: Callable[[Finished], str],
) -> Response:
    """The work on a worker thread, as a job, and the JSON that `content` makes of it."""
    warnings = extras.check(body, services.tools)
    options = services.options.current
    watch = Watch(batch_count=max(len(pictures), 1), steps=1)

    async def work(job: Job) -> Response:
        for warning in warnings:
            log.warning("not honoured", what=warning)
        fetched = await remote.pictures(pictures, options)
        watch.begin()
        finished = await asyncio.to_thread(
            extras.finish, fetched, body, services.tools, options, watch
        )
        return Response(
            content(finished),
            media_type="application/json",
            headers=reply.headers(job.id, warnings),
        )

    return await submit(Wish(kind="extras"), watch, work, request, services, Delivery())
