"""`POST /sdapi/v1/extra-single-image` and `/extra-batch-images`: work on finished pictures."""

from collections.abc import Callable, Sequence

import structlog
from fastapi import APIRouter, Request, Response

from pipelines.watch import Cancelled, Watch

from .. import extras, remote, reply
from ..body import json_with, listed, quoted
from ..extension_choice import enabled
from ..extras import Finished, Order
from ..extras_host import begun
from ..jobs import Job
from ..schemas.extras import (
    ExtrasBatchImagesRequest,
    ExtrasBatchImagesResponse,
    ExtrasRequest,
    ExtrasSingleImageRequest,
    ExtrasSingleImageResponse,
)
from ..script_pictures import hooks_with_pictures
from ..selected import hooks
from ..services import Services, ServicesDep
from ..submission import Delivery, Wish, submit

log = structlog.get_logger(__name__)

router = APIRouter()


@router.post("/sdapi/v1/extra-single-image", response_model=ExtrasSingleImageResponse)
async def extras_single_image_api(
    body: ExtrasSingleImageRequest, request: Request, services: ServicesDep
) -> Response:
    """Enlarge a picture; answers when it is done."""

    def content(finished: Finished) -> bytes:
        told = ExtrasSingleImageResponse(html_info=finished.html_info)
        pieces = quoted(finished.images[0]) if finished.images else (b"null",)
        return json_with(told, "image", *pieces)

    return await _answer([body.image], body, request, services, content)


@router.post("/sdapi/v1/extra-batch-images", response_model=ExtrasBatchImagesResponse)
async def extras_batch_images_api(
    body: ExtrasBatchImagesRequest, request: Request, services: ServicesDep
) -> Response:
    """Enlarge several pictures; answers when all are done, or with those done when interrupted."""

    def content(finished: Finished) -> bytes:
        told = ExtrasBatchImagesResponse(html_info=finished.html_info, images=[])
        return json_with(told, "images", *listed(finished.images))

    pictures = [file.data for file in body.image_list]
    return await _answer(pictures, body, request, services, content)


async def _answer(
    pictures: Sequence[str],
    body: ExtrasRequest,
    request: Request,
    services: Services,
    content: Callable[[Finished], bytes],
) -> Response:
    """The work on a worker thread, as a job, and the JSON that `content` makes of it."""
    missing = extras.check(body, services.tools, services.library)
    named = hooks("extras", body.alwayson_scripts, enabled(services))
    options = services.options.current
    watch = Watch(batch_count=max(len(pictures), 1), steps=extras.SHARES)

    async def work(job: Job) -> Response:
        fetched = await remote.pictures(pictures, options)
        ready, broken = await hooks_with_pictures(named, options)

        def finished() -> tuple[bytes, tuple[str, ...]]:
            extras.check_sizes(fetched, body)
            watch.begin()
            order = Order(
                request=body,
                tools=services.tools,
                options=options,
                hooks=begun(services, options, body, watch, ready, broken),
            )
            done = extras.finish(fetched, order, watch)
            return content(done), done.warnings

        answered, failed = await services.workers.run(finished)
        if watch.cancelled:
            raise Cancelled("the job was cancelled")
        warnings = (*missing, *failed)
        for warning in warnings:
            log.warning("not honoured", what=warning)
        return Response(
            answered,
            media_type="application/json",
            headers=reply.headers(job.id, warnings),
        )

    return await submit(Wish(kind="extras"), watch, work, request, services, Delivery())
