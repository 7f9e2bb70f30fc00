"""`POST /sdapi/v1/txt2img`: pictures from text."""

import asyncio

import structlog
from fastapi import APIRouter, HTTPException, Request, Response

from pipelines.watch import Watch

from .. import reply, translate
from ..disconnect import cancelled_on_disconnect
from ..jobs import QueueFull
from ..schemas.txt2img import Txt2ImgReply, Txt2ImgRequest
from ..services import ServicesDep
from ..styles import read_styles

log = structlog.get_logger(__name__)

router = APIRouter()

_RETRY_AFTER_S = "5"


@router.post("/sdapi/v1/txt2img", response_model=Txt2ImgReply)
async def txt2img(body: Txt2ImgRequest, request: Request, services: ServicesDep) -> Response:
    """Draw what the prompt says; answers when the pictures are done."""
    overrides = body.override_settings or {}
    if not body.override_settings_restore_afterwards:
        services.options.set(overrides, save=False)
    known = await asyncio.to_thread(
        read_styles, services.settings.styles_file if body.styles else ()
    )
    translated = translate.txt2img(body, services.options.current, services.catalog, known)
    plan, options = translated.plan, translated.options
    every = options.show_progress_every_n_steps if options.live_previews_enable else 0
    watch = Watch(
        batch_count=plan.batch_count,
        steps=plan.sampler.steps,
        preview_every=every,
        passes=2 if plan.hires else 1,
    )
    try:
        async with services.jobs.accepted("txt2img", watch, body.force_task_id) as job:
            for warning in translated.warnings:
                log.warning("not honoured", what=warning)
            async with cancelled_on_disconnect(request, watch):
                images = await services.jobs.run(job, plan)
            checkpoint = services.catalog.find(plan.checkpoint.name) or plan.checkpoint
            texts = [reply.describe(translated, checkpoint, image.index) for image in images]
            pictures: list[str] = []
            if body.send_images:
                pictures = await asyncio.to_thread(
                    reply.encoded, images, texts, options, services.options.current
                )
            content = Txt2ImgReply(
                images=pictures,
                parameters=body.echo(),
                info=reply.info(body, translated, checkpoint, texts, job.timestamp),
            )
            return Response(
                content.model_dump_json(),
                media_type="application/json",
                headers=reply.headers(job.id, translated.warnings),
            )
    except QueueFull as error:
        raise HTTPException(503, str(error), {"Retry-After": _RETRY_AFTER_S}) from error
