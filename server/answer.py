"""A generation request from its acceptance to its reply."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from fastapi import Request, Response

from extensions.registry import NO_HOOKS, Hooks, Named
from extensions.wanted import Mode, Wanted
from pipelines.watch import Cancelled, Watch

from . import remote, reply
from .body import Shown, encoded, json_with, listed
from .choosing import kept_overrides, network_name
from .extension_choice import enabled
from .generation import Drawn, carry_out, draw, options_of
from .infotext_request import filled
from .jobs import Job
from .keeping import Asked, keep, keep_made
from .schemas.generation import GenerationReply, GenerationRequest
from .script_host import ScriptRun, told_of
from .script_pictures import hooks_with_pictures, script_with_pictures
from .selected import Selected, hooks, selected
from .services import Services
from .styles import read_styles
from .submission import Delivery, submit, wish
from .wanted import request_of, translated
from .wardrobe import Wardrobe


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Made:
    """The reply, as JSON, and what went otherwise."""

    content: bytes
    warnings: Sequence[str]


async def answer(
    mode: Mode, body: GenerationRequest, request: Request, services: Services, how: Delivery
) -> Response:
    """Carry out a request of a route; answer when its pictures are done, or at once."""
    wished = await asyncio.to_thread(wish, mode, body)
    body, lost = await _filled(body, services)
    among = enabled(services)
    script, named = selected(mode, body, among), hooks(mode, body.alwayson_scripts, among)

    async def work(job: Job) -> Response:
        made = await _make(job, body, services, script, named)
        if job.watch.cancelled:
            raise Cancelled("the job was cancelled")
        told = reply.headers(job.id, (*lost, *made.warnings))
        return Response(made.content, media_type="application/json", headers=told)

    return await submit(wished, Watch(), work, request, services, how)


async def _make(
    job: Job,
    body: GenerationRequest,
    services: Services,
    script: Selected | None,
    named: tuple[Named, ...],
) -> _Made:
    """What the request asks for, by its script if it names one."""
    asked = await remote.with_pictures(body, services.options.current)
    hooked, wanted = NO_HOOKS, None
    if named:
        named, broken = await hooks_with_pictures(named, services.options.current)
        aside = ScriptRun(services=services, job=job, request=asked)
        hooked, wanted = await aside.begin(named, broken)
    if script is None:
        if wanted is None:
            drawn = await draw(services, job, asked, hooked)
        else:
            drawn = await _draw_wanted(wanted, services, job, asked, hooked)
        await _keep(body, services)
        kept = Asked(samples=asked.save_images, grids=asked.save_images)
        drawn = await asyncio.to_thread(keep, services, job, asked, drawn, kept)
        return await _plain(body, drawn, job, services)
    script = await script_with_pictures(script, services.options.current)
    run = ScriptRun(services=services, job=job, request=asked, hooks=hooked)
    return await _scripted(script, run, wanted)


async def _draw_wanted(
    wanted: Wanted, services: Services, job: Job, asked: GenerationRequest, hooked: Hooks
) -> Drawn:
    """What the hooks want in place of the request."""
    wardrobe, options = Wardrobe(services.library.networks), options_of(services)
    request = request_of(wanted, type(asked))
    made = await asyncio.to_thread(translated, wanted, request, options, services, wardrobe)
    return await carry_out(services, job, made, hooked)


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


async def _keep(body: GenerationRequest, services: Services) -> None:
    """Let the overrides stay that are to: those of a job that went well, until the server stops."""
    kept = kept_overrides(body, services.library)
    if kept:
        await asyncio.to_thread(partial(services.options.set, kept, save=False))


async def _plain(body: GenerationRequest, drawn: Drawn, job: Job, services: Services) -> _Made:
    """One generation as it is."""
    shown = _shown(drawn) if body.send_images else []
    pictures = await encoded(shown, services.options.current, services.workers)

    def content() -> bytes:
        said = reply.told(body, drawn.translated, drawn.known, drawn.infotexts)
        if drawn.grid is not None:
            texts = (*drawn.infotexts[:1], *drawn.infotexts)
            said = replace(said, infotexts=texts, index_of_first_image=1)
        info = reply.info(body, drawn.translated, drawn.known, said, job.timestamp)
        return _content(body, pictures, info)

    return _Made(content=await services.workers.write(content), warnings=drawn.warnings)


async def _scripted(script: Selected, run: ScriptRun, wanted: Wanted | None) -> _Made:
    """What a script makes of any number of generations."""
    services, request = run.services, run.request
    made = await run.run(script.script, script.args, wanted)
    await _keep(request, services)
    if request.save_images and run.latest is not None:
        title = script.script.title
        run.warnings += await asyncio.to_thread(
            keep_made, services, run.job, request, run.latest, made, run.kept, title
        )
    images = made.images if request.send_images else ()
    shown = [(image, image.info.get("parameters")) for image in images]
    pictures = await encoded(shown, services.options.current, services.workers)
    content = await services.workers.write(
        lambda: _content(request, pictures, json.dumps(told_of(made)))
    )
    return _Made(content=content, warnings=run.warnings)


def _content(body: GenerationRequest, pictures: Sequence[bytes], info: str) -> bytes:
    """The reply to `body`, its pictures in base64."""
    content = GenerationReply(parameters=body.echo(), info=info)
    return json_with(content, "images", *listed(pictures))


def _shown(drawn: Drawn) -> list[Shown]:
    """Each picture with its infotext, and what follows it, without."""
    shown: list[Shown] = []
    noted = drawn.translated.options.enable_pnginfo
    if drawn.grid is not None:
        shown.append((drawn.grid, drawn.infotexts[0] if noted else None))
    for picture, text, beside in zip(drawn.pictures, drawn.infotexts, drawn.beside, strict=True):
        shown += [(picture, text if noted else None), *((each, None) for each in beside)]
    return [*shown, *((each, None) for each in drawn.appended)]
