"""A selected script at work: it runs in a thread, each of its generations a plan of its job."""

import asyncio
import contextvars
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from PIL import Image
from pydantic import ValidationError

from extensions.protocol import BadScriptArgs, Extension, Host
from extensions.registry import Hooks
from extensions.wanted import Mode, Pictures, Wanted
from models.library import Library
from pipelines.pictures.upscale import enlarge
from pipelines.plan import Img2ImgPlan, Inversion, Plan, Txt2ImgPlan

from . import reply, translate
from .generation import Drawn, carry_out, options_of, styles_of
from .img2img import InitPictures, init_pictures
from .jobs import Job
from .keeping import Asked, keep
from .names import names
from .options import Options
from .prompts import prompts
from .sampling import resolve_sampler
from .schemas.generation import GenerationRequest
from .schemas.img2img import Img2ImgRequest
from .schemas.txt2img import Txt2ImgRequest
from .services import Services
from .styles import Style
from .translate import Translated
from .wardrobe import Wardrobe

_LOOK_S = 1.0
"""How often a script that waits looks whether the server is still there."""

_PICTURES = ("init_images", "mask", "latent_mask")
_MANY = ("prompt", "negative_prompt", "seed")
"""Fields that a script may give one value an image."""


@dataclass(eq=False, kw_only=True)
class ScriptRun:
    """A script within its job; `warnings` name what its generations could not honour.

    `latest` is the generation carried out last, `kept` holds the pictures that are saved.
    """

    services: Services
    job: Job
    request: GenerationRequest
    hooks: Hooks
    warnings: list[str] = field(default_factory=list)
    kept: list[Image.Image] = field(default_factory=list)
    latest: Drawn | None = None
    _wardrobe: Wardrobe = field(init=False)

    def __post_init__(self) -> None:
        self._wardrobe = Wardrobe(self.services.library.networks)

    async def run(self, script: Extension, args: Any) -> Pictures:
        """What the script makes; raises what it raises, and what ends one of its generations."""
        assert script.run is not None
        loop = asyncio.get_running_loop()
        wanted = await asyncio.to_thread(wanted_of, self.request, options_of(self.services))
        # Not a thread of the common pool: what the script waits for is done by those.
        threads = ThreadPoolExecutor(1, thread_name_prefix="script")
        context = contextvars.copy_context()
        try:
            return await loop.run_in_executor(
                threads, context.run, script.run, self._host(loop), wanted, args
            )
        finally:
            threads.shutdown(wait=False)

    def _host(self, loop: asyncio.AbstractEventLoop) -> Host:
        watch, checkpoints = self.job.watch, self.services.library.checkpoints

        def generate(wanted: Wanted, extra: Mapping[str, object]) -> Pictures:
            return self._generate(wanted, extra, loop)

        def find_checkpoint(name: str) -> str | None:
            found = checkpoints.closest(name)
            return None if found is None else found.name

        def check(wanted: Wanted) -> None:
            _request(wanted, type(self.request))

        return Host(
            options=MappingProxyType(self.services.options.current.as_wire()),
            names=names(self.services.library),
            expect=watch.expect_plans,
            check=check,
            generate=generate,
            describe=_describe,
            stopped=lambda: watch.interrupted or watch.cancelled,
            skipped=lambda: watch.progress().skipped,
            upscale=lambda image, upscaler, scale: enlarge(image, scale, upscaler),
            find_checkpoint=find_checkpoint,
        )

    def _generate(
        self, wanted: Wanted, extra: Mapping[str, object], loop: asyncio.AbstractEventLoop
    ) -> Pictures:
        """Called by the script, in its thread."""
        request = _request(wanted, type(self.request))
        options = options_of(self.services)
        styles, library = styles_of(self.services, request), self.services.library
        translated = _translated(wanted, request, options, library, styles, self._wardrobe)
        translated = replace(translated, first=MappingProxyType({**extra, **translated.first}))
        carried = asyncio.run_coroutine_threadsafe(
            carry_out(self.services, self.job, translated, self.hooks), loop
        )
        while not wait((carried,), _LOOK_S).done:
            if loop.is_closed():
                raise RuntimeError("the server is stopping")
        drawn = self._kept(wanted, request, carried.result())
        self.warnings += (each for each in drawn.warnings if each not in self.warnings)
        return _pictures(request, drawn, self.job)

    def _kept(self, wanted: Wanted, request: GenerationRequest, drawn: Drawn) -> Drawn:
        """What was drawn, saved as far as the script wants it."""
        asked = Asked(samples=not wanted.do_not_save_samples, grids=not wanted.do_not_save_grid)
        drawn = keep(self.services, self.job, request, drawn, asked)
        self.latest = drawn
        if asked.samples:
            self.kept += drawn.pictures
        return drawn


def told_of(pictures: Pictures) -> dict[str, Any]:
    """The reply's `info` of what a script made; keys in the wire's order."""
    own = {
        "prompt": next(iter(pictures.all_prompts), ""),
        "all_prompts": pictures.all_prompts,
        "negative_prompt": next(iter(pictures.all_negative_prompts), ""),
        "all_negative_prompts": pictures.all_negative_prompts,
        "seed": pictures.seed,
        "all_seeds": pictures.all_seeds,
        "subseed": pictures.subseed,
        "all_subseeds": pictures.all_subseeds,
        "extra_generation_params": dict(pictures.extra_generation_params),
        "index_of_first_image": pictures.index_of_first_image,
        "infotexts": pictures.infotexts,
    }
    return {**pictures.info, **own}


def wanted_of(request: GenerationRequest, options: Options) -> Wanted:
    """A request as extensions see it, under the server's own `options`.

    Raises `BadImage`, `RemoteImage` and `ApiError` for pictures that are none.
    """
    sampler, schedule, _ = resolve_sampler(
        request.sampler_name or request.sampler_index,
        request.scheduler,
        old_names=options.darkroom_old_sampler_names,
    )
    fields = {
        **dict(request),
        "sampler_name": sampler.name,
        "scheduler": request.scheduler or schedule.label,
        "do_not_save_samples": not request.save_images,
        "do_not_save_grid": not request.save_images,
    }
    mode: Mode = "txt2img"
    if isinstance(request, Img2ImgRequest):
        mode = "img2img"
        pictures = init_pictures(request)
        fields |= {"init_images": pictures.images, "mask": pictures.mask}
        fields |= dict.fromkeys(("latent_mask", "inversion", "color_reference"))
    return Wanted(mode, MappingProxyType(fields))


def _request(wanted: Wanted, kind: type[GenerationRequest]) -> GenerationRequest:
    """What is wanted as a request without its pictures; of several values the first."""
    fields = {name: wanted.fields[name] for name in kind.model_fields if name not in _PICTURES}
    for name in _MANY:
        if isinstance(fields[name], tuple):
            fields[name] = fields[name][0]
    fields["save_images"] = not wanted.do_not_save_samples
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        name = ".".join(map(str, wrong["loc"]))
        raise BadScriptArgs(f"{name} {wrong['input']!r:.80}: {wrong['msg']}") from None


def _translated(
    wanted: Wanted,
    request: GenerationRequest,
    options: Options,
    library: Library,
    styles: Mapping[str, Style],
    wardrobe: Wardrobe,
) -> Translated:
    if isinstance(request, Img2ImgRequest):
        pictures = InitPictures(
            images=wanted.init_images,
            mask=wanted.mask,
            latent_mask=wanted.latent_mask,
            color_reference=wanted.color_reference,
        )
        made = translate.img2img(request, options, library, styles, pictures, wardrobe)
        if wanted.inversion is not None:
            made = replace(made, plan=_inverted(made.plan, wanted))
    else:
        assert isinstance(request, Txt2ImgRequest)
        made = translate.txt2img(request, options, library, styles, wardrobe)
    if not any(isinstance(getattr(wanted, name), tuple) for name in _MANY):
        return made
    plan = _spread(made, wanted, request, styles, wardrobe)
    missed = wardrobe.warnings(dict.fromkeys(plan.prompts)) if plan.networks else ()
    return replace(made, plan=plan, warnings=tuple(dict.fromkeys((*made.warnings, *missed))))


def _spread(
    made: Translated,
    wanted: Wanted,
    request: GenerationRequest,
    styles: Mapping[str, Style],
    wardrobe: Wardrobe,
) -> Plan:
    """The plan with every image's own prompts and seed."""
    plan = made.plan
    many = {name: getattr(wanted, name) for name in _MANY}
    count = max(len(each) for each in many.values() if isinstance(each, tuple))
    many = {
        name: each if isinstance(each, tuple) else (each,) * count for name, each in many.items()
    }
    texts = [
        prompts(
            request.model_copy(update={"prompt": prompt, "negative_prompt": negative}),
            made.options,
            styles,
        )
        for prompt, negative in zip(many["prompt"], many["negative_prompt"], strict=True)
    ]
    seeds = many["seed"] if isinstance(wanted.seed, tuple) else plan.seeds.seeds[:count]
    changed: dict[str, Any] = {
        "prompts": tuple(each.prompt for each in texts),
        "negative_prompts": tuple(each.negative_prompt for each in texts),
        "networks": plan.networks and tuple(wardrobe.worn(each.prompt).uses for each in texts),
    }
    plan = replace(
        plan,
        **changed,
        seeds=replace(plan.seeds, seeds=seeds, subseeds=plan.seeds.subseeds[:count]),
    )
    if isinstance(plan, Txt2ImgPlan) and plan.hires is not None:
        plan = replace(plan, hires=replace(plan.hires, **_hires(changed, plan, request, count)))
    return plan


def _hires(
    changed: Mapping[str, Any], plan: Txt2ImgPlan, request: GenerationRequest, count: int
) -> dict[str, Any]:
    """The hires pass's prompts: those of the first pass, unless the request names its own."""
    assert plan.hires is not None and isinstance(request, Txt2ImgRequest)
    own = {
        "prompts": request.hr_prompt,
        "negative_prompts": request.hr_negative_prompt,
        "networks": request.hr_prompt,
    }
    return {
        name: getattr(plan.hires, name)[:count] if own[name] else values
        for name, values in changed.items()
    }


def _inverted(plan: Plan, wanted: Wanted) -> Plan:
    """The plan with noise found in its init pictures."""
    assert isinstance(plan, Img2ImgPlan)
    asked = wanted.inversion
    inversion = Inversion(
        prompt=asked.prompt,
        negative_prompt=asked.negative_prompt,
        steps=asked.steps,
        scale=asked.cfg_scale,
        randomness=asked.randomness,
        sigma_adjustment=asked.sigma_adjustment,
    )
    return replace(plan, inversion=inversion)


def _pictures(request: GenerationRequest, drawn: Drawn, job: Job) -> Pictures:
    """What was drawn as a script sees it; each picture carries its infotext where settings say."""
    if drawn.translated.options.enable_pnginfo:
        for picture, text in zip(drawn.pictures, drawn.infotexts, strict=True):
            picture.info["parameters"] = text
        if drawn.grid is not None:
            drawn.grid.info["parameters"] = drawn.infotexts[0]
    said = reply.told(request, drawn.translated, drawn.known, drawn.infotexts)
    grid = () if drawn.grid is None else (drawn.grid,)
    return Pictures(
        images=(*grid, *drawn.pictures),
        infotexts=(*drawn.infotexts[: len(grid)], *drawn.infotexts),
        index_of_first_image=len(grid),
        all_prompts=tuple(said.prompts),
        all_negative_prompts=tuple(said.negative_prompts),
        seed=said.seeds[0],
        all_seeds=tuple(said.seeds),
        subseed=said.subseeds[0],
        all_subseeds=tuple(said.subseeds),
        extra_generation_params=said.extra,
        info=reply.facts(request, drawn.translated, drawn.known, said, job.timestamp),
        source=drawn,
    )


def _describe(pictures: Pictures, further: Mapping[str, object]) -> str:
    drawn = pictures.source
    assert isinstance(drawn, Drawn)
    return reply.describe(drawn.translated, drawn.known, 0, further)
