"""What of a generation is kept on disk: its pictures, their grid, their masks, its infotext.

Runs in worker threads. What cannot be written is a warning: the client has its pictures anyway.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType

import structlog
from PIL import Image

from extensions import grids
from extensions.protocol import BadScriptArgs
from extensions.wanted import Pictures
from pipelines.pictures.finish import mask_composite, mask_picture
from pipelines.plan import Img2ImgPlan

from .generation import BEFORE_HIRES, Drawn
from .imagecodec import BadImageFormat
from .jobs import Job
from .naming import Facts
from .saving import Shelf, Wanted, write_whole
from .schemas.generation import GenerationRequest
from .services import Services

log = structlog.get_logger(__name__)

LATEST = "params.txt"
"""The file in the data folder that holds the latest infotext."""

_MEGA = 10**6
_GRID_NAMES: Mapping[str, str] = MappingProxyType(
    {"X/Y/Z plot": "xyz_grid", "Prompt matrix": "prompt_matrix"}
)
"""How the files of a script's grids begin, where it is not with `grid`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What of a generation is to be kept: its pictures one by one, and all of them in a grid."""

    samples: bool
    grids: bool


def keep(
    services: Services, job: Job, request: GenerationRequest, drawn: Drawn, asked: Asked
) -> Drawn:
    """Save what is to be kept; returns `drawn` with its grid, if one goes into the reply."""
    warnings: list[str] = []
    keeper = _Keeper(services, job, request, drawn, warnings)
    keeper.put_originals()
    if not drawn.pictures:
        return replace(drawn, warnings=(*drawn.warnings, *warnings))
    _note_latest(services, drawn.infotexts[0])
    options = drawn.translated.options
    if asked.samples and options.samples_save:
        keeper.put_samples()
    grid = None
    if asked.grids and (options.return_grid or options.grid_save):
        grid = keeper.grid()
    if grid is not None and options.grid_save:
        keeper.put_grid(grid, "grid", drawn.infotexts[0])
    for warning in warnings:
        log.warning("not saved as asked", what=warning)
    return replace(
        drawn,
        grid=grid if options.return_grid else None,
        warnings=(*drawn.warnings, *warnings),
    )


def keep_made(
    services: Services,
    job: Job,
    request: GenerationRequest,
    drawn: Drawn,
    made: Pictures,
    kept: Sequence[Image.Image],
    title: str,
) -> tuple[str, ...]:
    """Save what a script made of its generations, but for what was `kept` with those.

    `drawn` is one of them, whose settings and names count; returns what could not be saved.
    """
    warnings: list[str] = []
    keeper = _Keeper(services, job, request, drawn, warnings)
    options, known = drawn.translated.options, {id(each) for each in kept}
    texts = (*made.infotexts, *("",) * len(made.images))
    for index, (image, text) in enumerate(zip(made.images, texts, strict=False)):
        if id(image) in known:
            continue
        if index < made.index_of_first_image:
            if options.grid_save:
                keeper.put_grid(image, _GRID_NAMES.get(title, "grid"), text)
        elif options.samples_save:
            keeper.put_sample(image, 0, text, "")
    return tuple(warnings)


def _note_latest(services: Services, infotext: str) -> None:
    """Keep the infotext where clients of the reference look for the latest one."""
    if services.settings.no_prompt_history:
        return
    try:
        write_whole(services.settings.data_path / LATEST, infotext.encode(errors="replace"))
    except OSError as error:
        log.warning("the latest infotext is not kept", error=str(error))


@dataclass(frozen=True, slots=True)
class _Keeper:
    """The disk, as one generation sees it; `warnings` collects what could not be saved."""

    services: Services
    job: Job
    request: GenerationRequest
    drawn: Drawn
    warnings: list[str]

    def put_originals(self) -> None:
        """Save the init pictures, where settings ask for that."""
        for name, image in self.drawn.translated.originals.items():
            self._try(partial(Shelf.put_original, image=image, name=name))

    def put_samples(self) -> None:
        """Save every picture that was drawn to its end, and what settings ask for beside it."""
        drawn, options = self.drawn, self.drawn.translated.options
        size = drawn.translated.plan.batch_size
        for start in range(0, len(drawn.pictures), size):
            batch = range(len(drawn.pictures))[start : start + size]
            for index in batch:
                # this stage was reached by pictures that were stopped later, too
                if (first := drawn.before[index].get(BEFORE_HIRES)) is not None:
                    self.put_sample(first, index, drawn.infotexts[index], BEFORE_HIRES)
            for index in batch:
                if drawn.complete[index] or options.save_incomplete_images:
                    self._put_stages(index)

    def _put_stages(self, index: int) -> None:
        """Save a picture after what it was before, and before its masks."""
        drawn, options = self.drawn, self.drawn.translated.options
        finished = drawn.finished[index]
        stages: dict[str, Image.Image | None] = {**drawn.before[index], "": drawn.pictures[index]}
        stages.pop(BEFORE_HIRES, None)
        if options.save_mask:
            stages["-mask"] = mask_picture(finished)
        if options.save_mask_composite:
            stages["-mask-composite"] = mask_composite(finished)
        for suffix, image in stages.items():
            if image is not None:
                self.put_sample(image, index, drawn.infotexts[index], suffix)

    def put_sample(self, image: Image.Image, index: int, text: str, suffix: str) -> None:
        """Save one picture."""
        wanted = Wanted(
            outdir=f"outdir_{self._mode()}_samples",
            format=self.drawn.translated.options.samples_format,
            infotext=text,
            suffix=suffix,
        )
        self._put(image, index, wanted)

    def put_grid(self, image: Image.Image, prefix: str, text: str) -> None:
        """Save a grid under its own numbers."""
        options = self.drawn.translated.options
        wanted = Wanted(
            outdir=f"outdir_{self._mode()}_grids",
            format=options.grid_format,
            infotext=text,
            prefix=prefix,
            short=not options.grid_extended_filename,
            grid=True,
        )
        self._put(image, 0, wanted)

    def grid(self) -> Image.Image | None:
        """All pictures of the reply side by side, unless it would be of one, or too large."""
        options = self.drawn.translated.options
        images = list(self._shown())
        if len(images) < 2 and options.grid_only_if_multiple:
            return None
        wire = options.as_wire()
        rows = min(
            grids.rows_of(len(images), self.drawn.translated.plan.batch_size, wire), len(images)
        )
        width, height = grids.cell_size(images)
        pixels = width * height * rows * -(-len(images) // rows)
        if pixels > options.img_max_size_mp * _MEGA:
            self.warnings.append(f"no grid: it would have {pixels} pixels")
            return None
        try:
            return grids.grid(images, rows, grids.Style.of(wire))
        except BadScriptArgs as error:
            self.warnings.append(f"no grid: {error}")
            return None

    def _shown(self) -> Iterator[Image.Image]:
        for picture, beside in zip(self.drawn.pictures, self.drawn.beside, strict=True):
            yield picture
            yield from beside

    def _put(self, image: Image.Image, index: int, wanted: Wanted) -> None:
        facts = self._facts(image, index)
        self._try(lambda shelf: shelf.put(image, facts, wanted))

    def _try(self, put: Callable[[Shelf], tuple[str, ...]]) -> None:
        """Have a picture put on the shelf, and remember what went otherwise."""
        shelf = Shelf(settings=self.services.settings, options=self.drawn.translated.options)
        try:
            told = put(shelf)
        except OSError as error:
            log.error("a picture is not saved", error=repr(error))
            told = (f"a picture is not saved: {error.strerror or type(error).__name__}",)
        except BadImageFormat as error:
            told = (f"a picture is not saved: {error}",)
        self.warnings.extend(each for each in told if each not in self.warnings)

    def _mode(self) -> str:
        is_img2img = isinstance(self.drawn.translated.plan, Img2ImgPlan)
        return "img2img" if is_img2img else "txt2img"

    def _facts(self, image: Image.Image, index: int) -> Facts:
        translated, known, request = self.drawn.translated, self.drawn.known, self.request
        plan, options = translated.plan, translated.options
        return Facts(
            image=image,
            seed=plan.seeds.seeds[index],
            seeds=plan.seeds.seeds,
            prompt=plan.prompts[index],
            negative_prompt=plan.negative_prompts[index],
            raw_prompt=request.prompt,
            styles=request.styles or (),
            steps=plan.sampler.steps,
            cfg=plan.guidance.scale,
            sampler=plan.sampler.name,
            schedule=translated.schedule_label,
            model_name=known.checkpoint.stem,
            model_hash=known.checkpoint.short_hash,
            vae_name=known.vae.name if known.vae else None,
            clip_skip=options.CLIP_stop_at_last_layers,
            denoising=request.denoising_strength or None,
            position=index,
            batch_size=plan.batch_size,
            batch_count=plan.batch_count,
            job_timestamp=self.job.timestamp,
            prompt_words=options.directories_max_prompt_words,
            saved=datetime.now(UTC),
        )
