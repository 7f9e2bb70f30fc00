"""Extensions at work within a job: in a thread, each of their generations a plan of the job."""

import asyncio
import contextvars
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from PIL import Image

from extensions.protocol import Extension, Host
from extensions.registry import NO_HOOKS, Hooks, Named
from extensions.wanted import Pictures, Wanted

from . import reply
from .generation import Drawn, carry_out, options_of
from .jobs import Job
from .keeping import Asked, keep
from .schemas.generation import GenerationRequest
from .services import Services
from .wanted import request_of, translated, wanted_of
from .wardrobe import Wardrobe
from .workshop import host

_LOOK_S = 1.0
"""How often a script that waits looks whether the server is still there."""


@dataclass(eq=False, kw_only=True)
class ScriptRun:
    """A script within its job; `warnings` name what its generations could not honour.

    `latest` is the generation carried out last, `kept` holds the pictures that are saved.
    """

    services: Services
    job: Job
    request: GenerationRequest
    hooks: Hooks = NO_HOOKS
    warnings: list[str] = field(default_factory=list)
    kept: list[Image.Image] = field(default_factory=list)
    latest: Drawn | None = None
    _wardrobe: Wardrobe = field(init=False)

    def __post_init__(self) -> None:
        self._wardrobe = Wardrobe(self.services.library.networks)

    async def run(self, script: Extension, args: Any, wanted: Wanted | None = None) -> Pictures:
        """What the script makes of the request, or of what is `wanted` in its place.

        Raises what it raises, and what ends one of its generations.
        """
        assert script.run is not None
        loop = asyncio.get_running_loop()
        if wanted is None:
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

    async def begin(
        self, named: Sequence[Named], broken: tuple[str, ...]
    ) -> tuple[Hooks, Wanted | None]:
        """The hooks of the job, and what they want in place of the request, if anything else.

        Raises what `wanted_of` raises.
        """
        loop = asyncio.get_running_loop()

        def begun() -> tuple[Hooks, Wanted | None]:
            asked = wanted_of(self.request, options_of(self.services))
            hooks = Hooks.begin(named, self._host(loop), asked, broken)
            wanted, hooks = hooks.before_job(asked)
            return hooks, None if wanted is asked else wanted

        return await self.services.workers.run(begun)

    def _host(self, loop: asyncio.AbstractEventLoop) -> Host:
        def generate(wanted: Wanted, extra: Mapping[str, object]) -> Pictures:
            return self._generate(wanted, extra, loop)

        def check(wanted: Wanted) -> None:
            request_of(wanted, type(self.request))

        return host(
            self.services,
            self.services.options.current,
            self.job.watch,
            check=check,
            generate=generate,
            describe=_describe,
        )

    def _generate(
        self, wanted: Wanted, extra: Mapping[str, object], loop: asyncio.AbstractEventLoop
    ) -> Pictures:
        """Called by the extension, in its thread."""
        request = request_of(wanted, type(self.request))
        options = options_of(self.services)
        made = translated(wanted, request, options, self.services, self._wardrobe)
        made = replace(made, first=MappingProxyType({**extra, **made.first}))
        carried = asyncio.run_coroutine_threadsafe(
            carry_out(self.services, self.job, made, self.hooks), loop
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
