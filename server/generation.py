"""From a request to finished pictures: what the routes and the scripts share."""

import asyncio
import contextvars
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import structlog
from PIL import Image

from extensions.registry import NO_HOOKS, Hooks
from models.catalog import CheckpointInfo
from models.library import Library
from pipelines.pictures.covers import soft_covers
from pipelines.pictures.finish import Finished, composed, finish, mask_composite, mask_picture
from pipelines.watch import Cancelled, Watch

from . import reply, translate
from .jobs import Job
from .names import why_no_restorer
from .options import Options
from .progress import preview_content, preview_settings
from .schemas.generation import GenerationRequest
from .schemas.img2img import Img2ImgRequest
from .schemas.txt2img import Txt2ImgRequest
from .services import Services
from .styles import Style, read_styles
from .translate import Translated

if TYPE_CHECKING:
    from pipelines.effects import Effects
    from pipelines.generate import Generated, GeneratedImage

log = structlog.get_logger(__name__)

BEFORE_HIRES = "-before-highres-fix"
"""What the name of a file ends in that shows a picture as the first of two passes drew it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """The pictures of one generation, finished, and what is told of them.

    `pictures` and `infotexts` have one entry an image; `beside` holds the pictures of its mask that
    follow each in a reply, `grid` what stands before all of them, `appended` what comes after.
    `complete` says which were drawn
    to their end; `before` are stages of each, by what the names of their files end in.
    """

    translated: Translated
    known: reply.Known
    pictures: tuple[Image.Image, ...]
    finished: tuple[Finished, ...]
    infotexts: tuple[str, ...]
    beside: tuple[tuple[Image.Image, ...], ...]
    complete: tuple[bool, ...]
    before: tuple[Mapping[str, Image.Image], ...]
    warnings: tuple[str, ...]
    grid: Image.Image | None = None
    appended: tuple[Image.Image, ...] = ()


def options_of(services: Services) -> Options:
    """The settings that a generation begins with; its overrides come on top."""
    options = services.options.current
    if services.settings.old_sampler_names:
        options = replace(options, darkroom_old_sampler_names=True)
    return options


async def draw(
    services: Services, job: Job, request: GenerationRequest, hooks: Hooks = NO_HOOKS
) -> Drawn:
    """Carry out a request within `job`; raises what ends it."""
    options = options_of(services)
    translated = await asyncio.to_thread(_translate, services, request, options)
    return await carry_out(services, job, translated, hooks)


async def carry_out(services: Services, job: Job, translated: Translated, hooks: Hooks) -> Drawn:
    """Run a plan within `job` and finish its pictures; raises what ends it."""
    options = services.options.current
    for warning in translated.warnings:
        log.warning("not honoured", what=warning)
    plan = translated.plan
    every, method = preview_settings(options)
    job.watch.begin_plan(
        batch_count=plan.batch_count,
        passes=plan.passes,
        steps=plan.sampler.steps,
        preview_every=every,
        preview_method=method,
        preview_content=preview_content(options),
    )
    if hooks.hooks:
        context = contextvars.copy_context()
        plan = replace(plan, before_batch=lambda number: context.run(hooks.before_batch, number))
    generated = await services.jobs.run(job, plan)
    slow = hooks.hooks or translated.restore_faces
    finish = services.workers.run if slow else asyncio.to_thread
    return await finish(_drawn, services, translated, generated, hooks, job.watch)


def styles_of(services: Services, request: GenerationRequest) -> Mapping[str, Style]:
    """The styles that a request may name; the files are read only where it names one."""
    return read_styles(services.settings.styles_file if request.styles else ())


def _translate(services: Services, request: GenerationRequest, options: Options) -> Translated:
    styles, tools = styles_of(services, request), services.tools
    if isinstance(request, Img2ImgRequest):
        return translate.img2img(request, options, services.library, styles, tools=tools)
    assert isinstance(request, Txt2ImgRequest)
    return translate.txt2img(request, options, services.library, styles, tools=tools)


def _drawn(
    services: Services,
    translated: Translated,
    generated: "Generated",
    hooks: Hooks,
    watch: Watch,
) -> Drawn:
    """Finish the pictures and write their infotexts."""
    known = _known(services.library, translated, generated.effects)
    images, size = generated.images, translated.plan.batch_size
    batches = [images[start : start + size] for start in range(0, len(images), size)]
    hooks, warnings = _restoring(services, translated, hooks, watch)
    made: list[_Made] = []
    appended: list[Image.Image] = []
    for number, batch in enumerate(batches):
        finished = list(_finished(batch, translated, hooks))
        made += finished
        more, failed = hooks.after_batch(number, [each.finished.picture for each in finished])
        appended += more
        warnings += failed
    failures = {
        image.index: each.failures
        for image, each in zip(images, made, strict=True)
        if each.failures
    }
    told = {image.index: each.told for image, each in zip(images, made, strict=True) if each.told}
    known = replace(known, failures=failures, told=told)
    distinct = dict.fromkeys(text for texts in failures.values() for text in texts)
    return Drawn(
        translated=translated,
        known=known,
        pictures=tuple(each.finished.picture for each in made),
        finished=tuple(each.finished for each in made),
        infotexts=tuple(reply.describe(translated, known, image.index) for image in images),
        beside=tuple(_beside(each.finished, translated.options) for each in made),
        complete=tuple(image.complete for image in images),
        before=tuple(each.before for each in made),
        appended=tuple(appended),
        warnings=(*translated.warnings, *generated.effects.notes, *warnings, *distinct),
    )


def _restoring(
    services: Services, translated: Translated, hooks: Hooks, watch: Watch
) -> tuple[Hooks, list[str]]:
    """The hooks with the restoration of faces before them, or why there is none."""
    options, name = translated.options, translated.options.face_restoration_model
    if not translated.restore_faces:
        return hooks, []
    restorer = services.tools.under(options).restorers.get(name)
    if restorer is None:
        why = why_no_restorer(name, services.library)
        return hooks, [f"restore_faces: {why}; faces are left as they are"]
    weight = options.code_former_weight

    def tick(share: float) -> None:
        if watch.interrupted or watch.cancelled:
            raise Cancelled("the job was told to stop")

    return hooks.after(name, lambda picture: restorer(picture, weight, tick)), []


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Made:
    """A picture, what it was before, what extensions tell of it, and which failed on it."""

    finished: Finished
    before: Mapping[str, Image.Image]
    told: Mapping[str, object]
    failures: tuple[str, ...]


def _finished(
    batch: "Sequence[GeneratedImage]", translated: Translated, hooks: Hooks
) -> Iterator[_Made]:
    """The pictures of a batch, with their originals put back around them where there are any."""
    init, options = translated.init, translated.options
    for position, (image, cover) in enumerate(zip(batch, _covers(batch, translated), strict=True)):
        drawn, before = Image.fromarray(image.pixels), dict[str, Image.Image]()
        if image.first is not None:
            before[BEFORE_HIRES] = Image.fromarray(image.first)
        if translated.restore_faces and options.save_images_before_face_restoration:
            before["-before-face-restoration"] = drawn
        treated = hooks.finish(drawn)
        picture = treated.picture
        finished = Finished(picture=picture, alone=picture, cover=None)
        if init is not None:
            finished = finish(picture, init, position, cover)
            if init.targets and options.save_images_before_color_correction:
                plain = composed(picture, init, position, cover)
                before["-before-color-correction"] = plain.picture
        yield _Made(
            finished=finished,
            before=MappingProxyType(before),
            told=treated.told,
            failures=treated.warnings,
        )


def _covers(
    batch: "Sequence[GeneratedImage]", translated: Translated
) -> Sequence[Image.Image | None]:
    """The masks of soft inpainting, which are made from latents; None where there is none."""
    ends = [image.latents for image in batch if image.latents is not None]
    if translated.init is None or not ends:
        return [None] * len(batch)
    size = translated.plan.width, translated.plan.height
    before, after = (np.stack(latents) for latents in zip(*ends, strict=True))
    return soft_covers(translated.init, size, before, after)


def _beside(finished: Finished, options: Options) -> tuple[Image.Image, ...]:
    """What follows a picture in the reply: its mask and what was repainted, where settings ask."""
    wanted = (
        mask_picture(finished) if options.return_mask else None,
        mask_composite(finished) if options.return_mask_composite else None,
    )
    return tuple(each for each in wanted if each is not None)


def _known(library: Library, translated: Translated, effects: "Effects") -> reply.Known:
    plan = translated.plan
    vae, refiner = plan.model.vae, plan.refiner
    took_over = refiner is not None and bool(effects.refined)
    return reply.Known(
        checkpoint=_hashed(library, plan.model.checkpoint),
        vae=None if vae is None else library.vaes.hash(vae),
        refiner=_hashed(library, refiner.model.checkpoint) if refiner and took_over else None,
        effects=effects,
    )


def _hashed(library: Library, checkpoint: CheckpointInfo) -> CheckpointInfo:
    """The entry as it is listed now: loading it has hashed it."""
    return library.checkpoints.find(checkpoint.name) or checkpoint
