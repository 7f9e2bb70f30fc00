"""Finished pictures enlarged and their faces restored, with what was done written into them."""

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image

from extensions.registry import NO_HOOKS, Hooks, guarded
from models.faces.files import CODEFORMER, GFPGAN
from models.library import Library
from pipelines.pictures.upscale import Upscaler, enlarge
from pipelines.watch import Watch

from . import imagecodec, infotext
from .errors import ApiError
from .imagecodec import Encoding
from .names import place_of, why_no_restorer
from .options import Options
from .schemas.extras import ExtrasRequest
from .schemas.limits import MAX_PIXELS
from .tools import Tools

MAX_TOTAL_PIXELS = 2**29
"""Pixels that all pictures of one reply may have together."""

SHARES = 100
"""Parts that the work on one picture is counted in."""

_KEY = "postprocessing"
_WARNING = "Extension warning"
_NONE = "None"
_TO_SIZE = 1
_MODES = ("RGB", "RGBA")
_UPSCALE = "Upscale"


class _Stopped(Exception):
    """The picture under way is not to be finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be done to every picture, with what, and under which settings."""

    request: ExtrasRequest
    tools: Tools
    options: Options
    hooks: Hooks = NO_HOOKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Pictures in base64, what was done to the last of them as a paragraph of HTML, and what could
    not be done.
    """

    images: list[bytes]
    html_info: str
    warnings: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True, eq=False)
class _Work:
    """One picture's work: `done` is what its infotext tells, `parts` are the steps it takes."""

    watch: Watch
    parts: int
    part: int = 0
    reached: int = 0
    done: dict[str, object] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def tick(self, share: float) -> None:
        """`share` of the step under way is done, 0 to 1. Raises `_Stopped` for a job told to stop.

        A model that runs twice tells of each run; the whole does not go back.
        """
        if self.watch.stopping or self.watch.cancelled:
            raise _Stopped
        share = min(max(share, 0.0), 1.0)
        self.reached = max(self.reached, int(SHARES * (self.part + share) / max(self.parts, 1)))
        self.watch.stepped(self.reached, None)

    def next(self) -> None:
        """A step is done."""
        self.part += 1
        self.tick(0.0)


def check(request: ExtrasRequest, tools: Tools, library: Library) -> tuple[str, ...]:
    """What was asked for and cannot be honoured.

    Raises `ApiError` for an upscaler that is not there: the names there are stand in `detail`, from
    which openOutpaint reads them, and behind them where the file of a published one belongs.
    """
    if request.upscaler_1 != _NONE:
        for name in (request.upscaler_1, request.upscaler_2):
            if name != _NONE and name not in tools.upscalers:
                here = f"Invalid upscaler, needs to be one of these: {' , '.join(tools.upscalers)}"
                where = place_of(name, library)
                raise ApiError(
                    500,
                    here if where is None else f"{here}; {where}",
                    error="AssertionError",
                    errors=f"could not find upscaler named {name}",
                )
    return tuple(
        f"{why_no_restorer(each.name, library)}; faces are left as they are"
        for each in _restorations(request)
        if each.visibility and each.name not in tools.restorers
    )


def check_sizes(pictures: Sequence[str], request: ExtrasRequest) -> None:
    """Refuse what would become too large, by the headers of base64 pictures.

    Raises `ApiError`, and `BadImage` and `RemoteImage` for what is no picture.
    """
    total = 0
    for picture in pictures:
        width, height = imagecodec.size(picture)
        enlarged = request.upscaler_1 != _NONE
        total += _grown(width, height, request) if enlarged else width * height
    _check_total(total)


def finish(pictures: Sequence[str], order: Order, watch: Watch) -> Finished:
    """Work on base64 pictures one by one, until the job of `watch` is told to stop.

    A picture that is skipped is left out. The request has passed `check`, the pictures
    `check_sizes`.

    Raises:
        BadImage, RemoteImage: what is sent is no picture.
        BadImageFormat: the settings name a format that is not written.
        ApiError: a result too large.
    """
    images: list[bytes] = []
    warnings: dict[str, None] = {}
    told, total = "", 0
    for number, picture in enumerate(pictures):
        if watch.interrupted or watch.cancelled:
            break
        watch.begin_batch(number)
        watch.begin_pass(SHARES)
        image = imagecodec.decode(picture)
        kept = imagecodec.metadata(picture)[1] if image.info else {}
        steps = tuple(_steps(order))
        work = _Work(watch=watch, parts=sum(step.parts for step in steps))
        try:
            result = _processed(image, steps, work)
        except _Stopped:
            continue
        total += result.width * result.height
        _check_total(total)
        warnings |= dict.fromkeys(work.warnings)
        told = infotext.write("", "", work.done | {_WARNING: "; ".join(work.warnings) or None})
        images.append(imagecodec.in_base64(_encoded(result, {**kept, _KEY: told}, order.options)))
        watch.end_pass()
    return Finished(images=images, html_info=_paragraph(told), warnings=tuple(warnings))


@dataclass(frozen=True, slots=True)
class _Step:
    """What is done to a picture, and the number of parts that it takes."""

    change: Callable[[Image.Image, _Work], Image.Image]
    parts: int = 1


def _processed(image: Image.Image, steps: Sequence[_Step], work: _Work) -> Image.Image:
    """The picture after all that was asked for."""
    if image.mode not in _MODES:
        image = image.convert("RGB")
    work.tick(0.0)
    for step in steps:
        image = step.change(image, work)
        work.next()
    return image


def _steps(order: Order) -> Iterator[_Step]:
    """What is done, in the order that settings give; extensions come last."""
    request, options = order.request, order.options
    named: dict[str, _Step] = {}
    if request.upscaler_1 != _NONE:
        parts = 2 if _takes_two(request) else 1
        named[_UPSCALE] = _Step(lambda image, work: _upscaled(image, order, work), parts)
    for restoration in _restorations(request):
        if restoration.visibility:
            named[restoration.name] = _restoring(restoration, order)
    wanted = (each for each in options.postprocessing_operation_order if each in named)
    for name in dict.fromkeys((*wanted, *named)):
        if name not in options.postprocessing_disable_in_extras:
            yield named[name]
    if order.hooks != NO_HOOKS:
        yield _Step(lambda image, work: _hooked(image, order.hooks, work))


@dataclass(frozen=True, slots=True)
class _Restoration:
    """A face restorer, how visible it is to be, and the weight where it has one."""

    name: str
    visibility: float
    weight: float | None = None

    @property
    def told(self) -> dict[str, object]:
        """What infotexts tell of it."""
        numbers = {"visibility": self.visibility, "weight": self.weight}
        return {
            f"{self.name} {key}": round(value, 3)
            for key, value in numbers.items()
            if value is not None
        }


def _restorations(request: ExtrasRequest) -> tuple[_Restoration, ...]:
    """The face restorers, visible or not."""
    weight = request.codeformer_weight
    return (
        _Restoration(GFPGAN, request.gfpgan_visibility),
        _Restoration(CODEFORMER, request.codeformer_visibility, weight),
    )


def _restoring(asked: _Restoration, order: Order) -> _Step:
    """The step of a face restorer; one that is not here, or fails, leaves the picture as it is."""
    restorer = order.tools.restorers.get(asked.name)

    def blended(image: Image.Image, work: _Work) -> Image.Image:
        assert restorer is not None
        try:
            restored = restorer(image, asked.weight or 0.0, work.tick)
        except _Stopped:
            # no failure: the end of this step comes to the same
            return image
        return Image.blend(image, restored, asked.visibility)

    def restored(image: Image.Image, work: _Work) -> Image.Image:
        image = image.convert("RGB")
        if restorer is not None:
            better, failure = guarded(asked.name, blended, image, work)
            image = image if failure is not None else better
            work.warnings += () if failure is None else (failure,)
        work.done |= asked.told
        return image

    return _Step(restored)


def _hooked(image: Image.Image, hooks: Hooks, work: _Work) -> Image.Image:
    """The picture after the extensions that the job names."""
    treated = hooks.finish(image)
    work.done |= treated.told
    work.warnings += treated.warnings
    return treated.picture


def _takes_two(request: ExtrasRequest) -> bool:
    return request.upscaler_2 != _NONE and request.extras_upscaler_2_visibility > 0


def _upscaled(image: Image.Image, order: Order, work: _Work) -> Image.Image:
    request, upscalers = order.request, order.tools.upscalers
    result = _upscaled_by(image, request, upscalers[request.upscaler_1], work)
    work.done["Postprocess upscaler"] = request.upscaler_1
    if _takes_two(request):
        work.next()
        second = _upscaled_by(image, request, upscalers[request.upscaler_2], work)
        visibility = request.extras_upscaler_2_visibility
        result = Image.blend(result, second.convert(result.mode), visibility)
        work.done["Postprocess upscaler 2"] = request.upscaler_2
    return result


def _upscaled_by(
    image: Image.Image, request: ExtrasRequest, upscaler: Upscaler, work: _Work
) -> Image.Image:
    """Enlarge by a factor, or until a size is covered, and then cut to that size if asked."""
    _grown(image.width, image.height, request)
    result = enlarge(image, _scale(image.width, image.height, request), upscaler, work.tick)
    if request.resize_mode != _TO_SIZE:
        work.done["Postprocess upscale by"] = request.upscaling_resize
        return result
    width, height = request.upscaling_resize_w, request.upscaling_resize_h
    work.done["Postprocess upscale to"] = f"{width}x{height}"
    if not request.upscaling_crop:
        return result
    work.done["Postprocess crop to"] = f"{width}x{height}"
    canvas = Image.new("RGB", (width, height))
    canvas.paste(result, (width // 2 - result.width // 2, height // 2 - result.height // 2))
    return canvas


def _scale(width: int, height: int, request: ExtrasRequest) -> float:
    """By how much a picture is enlarged."""
    if request.resize_mode != _TO_SIZE:
        return request.upscaling_resize
    return max(request.upscaling_resize_w / width, request.upscaling_resize_h / height)


def _grown(width: int, height: int, request: ExtrasRequest) -> int:
    """Pixels that a picture has once it is enlarged. Raises `ApiError` for too many."""
    scale = _scale(width, height, request)
    pixels = width * scale * (height * scale)
    if pixels > MAX_PIXELS:
        raise ApiError(
            422,
            f"a picture of {width}x{height} enlarged {scale:g} times has {pixels:.0f} pixels; "
            f"allowed are at most {MAX_PIXELS}",
        )
    return int(pixels)


def _check_total(pixels: int) -> None:
    if pixels > MAX_TOTAL_PIXELS:
        raise ApiError(422, f"the pictures have more than {MAX_TOTAL_PIXELS} pixels in all")


def _encoded(image: Image.Image, notes: Mapping[str, object], options: Options) -> bytes:
    """The picture as a file, with its notes where settings want them and the format has room."""
    encoding = Encoding(
        format=options.samples_format,
        quality=options.jpeg_quality,
        lossless=options.webp_lossless,
    )
    notes = notes if options.enable_pnginfo else {}
    if encoding.format.lower() != "png":
        parameters = notes.get("parameters")
        return imagecodec.encode(image, str(parameters) if parameters else None, encoding)
    # a colour that the old picture showed through; in the new one it may stand anywhere
    image.info.pop("transparency", None)
    return imagecodec.encode_png(
        image, {key: value for key, value in notes.items() if isinstance(value, str)}
    )


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"
