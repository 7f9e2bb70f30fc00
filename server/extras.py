"""Finished pictures enlarged and their faces restored, with what was done written into them."""

import html
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from PIL import Image, PngImagePlugin

from pipelines.pictures.upscale import Upscaler, enlarge
from pipelines.watch import Watch

from . import imagecodec, infotext
from .errors import ApiError
from .imagecodec import Encoding
from .options import Options
from .schemas.extras import ExtrasRequest
from .schemas.limits import MAX_PIXELS
from .tools import Restorer, Tools

GFPGAN, CODEFORMER = "GFPGAN", "CodeFormer"
MAX_TOTAL_PIXELS = 2**29
"""Pixels that all pictures of one reply may have together."""

_KEY = "postprocessing"
_NONE = "None"
_TO_SIZE = 1
_MODES = ("RGB", "RGBA")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Pictures in base64, and what was done to the last of them as a paragraph of HTML."""

    images: list[str]
    html_info: str


def check(request: ExtrasRequest, tools: Tools) -> tuple[str, ...]:
    """What was asked for and cannot be honoured.

    Raises `ApiError` for an upscaler that is not there: the names there are stand in `detail`, from
    which openOutpaint reads them.
    """
    if request.upscaler_1 != _NONE:
        for name in (request.upscaler_1, request.upscaler_2):
            if name != _NONE and name not in tools.upscalers:
                raise ApiError(
                    500,
                    f"Invalid upscaler, needs to be one of these: {' , '.join(tools.upscalers)}",
                    error="AssertionError",
                    errors=f"could not find upscaler named {name}",
                )
    return tuple(
        f"{name} is not installed: faces are left as they are"
        for name, visibility, _ in _restorations(request)
        if visibility and name not in tools.restorers
    )


def finish(
    pictures: Iterable[str], request: ExtrasRequest, tools: Tools, options: Options, watch: Watch
) -> Finished:
    """Work on base64 pictures one by one, until the job of `watch` is told to stop.

    Raises `BadImage` and `RemoteImage` for what is no picture, `BadImageFormat`, and `ApiError` for
    a result too large. `request` has passed `check`.
    """
    encoding = Encoding(
        format=options.samples_format,
        quality=options.jpeg_quality,
        lossless=options.webp_lossless,
    )
    images: list[str] = []
    told, total = "", 0
    for number, picture in enumerate(pictures):
        if watch.stopping or watch.cancelled:
            break
        watch.begin_batch(number)
        image = imagecodec.decode(picture)
        kept = imagecodec.metadata(picture)[1] if image.info else {}
        done: dict[str, object] = {}
        result = _processed(image, request, tools, done)
        total += result.width * result.height
        if total > MAX_TOTAL_PIXELS:
            raise ApiError(422, f"the pictures have more than {MAX_TOTAL_PIXELS} pixels in all")
        told = infotext.write("", "", done)
        notes = {**kept, _KEY: told} if options.enable_pnginfo else {}
        images.append(imagecodec.to_base64(_encoded(result, notes, encoding)))
        watch.end_pass()
    return Finished(images=images, html_info=_paragraph(told))


def _processed(
    image: Image.Image, request: ExtrasRequest, tools: Tools, done: dict[str, object]
) -> Image.Image:
    """The picture after all that was asked for; what that was goes to `done`."""
    if image.mode not in _MODES:
        image = image.convert("RGB")
    if request.upscaler_1 != _NONE:
        image = _upscaled(image, request, tools, done)
    for name, visibility, numbers in _restorations(request):
        if visibility:
            if name in tools.restorers:
                image = _restored(image, tools.restorers[name], visibility, request)
            done.update({f"{name} {key}": round(value, 3) for key, value in numbers.items()})
    return image


def _restorations(request: ExtrasRequest) -> Iterator[tuple[str, float, Mapping[str, float]]]:
    """Each face restorer, how visible it is to be, and the numbers that infotexts tell."""
    yield GFPGAN, request.gfpgan_visibility, {"visibility": request.gfpgan_visibility}
    numbers = {"visibility": request.codeformer_visibility, "weight": request.codeformer_weight}
    yield CODEFORMER, request.codeformer_visibility, numbers


def _restored(
    image: Image.Image, restorer: Restorer, visibility: float, request: ExtrasRequest
) -> Image.Image:
    plain = image.convert("RGB")
    return Image.blend(plain, restorer(plain, request.codeformer_weight), visibility)


def _upscaled(
    image: Image.Image, request: ExtrasRequest, tools: Tools, done: dict[str, object]
) -> Image.Image:
    result = _upscaled_by(image, request, tools.upscalers[request.upscaler_1], done)
    done["Postprocess upscaler"] = request.upscaler_1
    visibility = request.extras_upscaler_2_visibility
    if request.upscaler_2 != _NONE and visibility:
        second = _upscaled_by(image, request, tools.upscalers[request.upscaler_2], done)
        result = Image.blend(result, second.convert(result.mode), visibility)
        done["Postprocess upscaler 2"] = request.upscaler_2
    return result


def _upscaled_by(
    image: Image.Image, request: ExtrasRequest, upscaler: Upscaler, done: dict[str, object]
) -> Image.Image:
    """Enlarge by a factor, or until a size is covered, and then cut to that size if asked."""
    if request.resize_mode != _TO_SIZE:
        done["Postprocess upscale by"] = request.upscaling_resize
        return _enlarged(image, request.upscaling_resize, upscaler)
    width, height = request.upscaling_resize_w, request.upscaling_resize_h
    done["Postprocess upscale to"] = f"{width}x{height}"
    result = _enlarged(image, max(width / image.width, height / image.height), upscaler)
    if not request.upscaling_crop:
        return result
    done["Postprocess crop to"] = f"{width}x{height}"
    canvas = Image.new("RGB", (width, height))
    canvas.paste(result, (width // 2 - result.width // 2, height // 2 - result.height // 2))
    return canvas


def _enlarged(image: Image.Image, scale: float, upscaler: Upscaler) -> Image.Image:
    width, height = image.width * scale, image.height * scale
    if width * height > MAX_PIXELS:
        raise ApiError(
            422,
            f"a picture of {image.width}x{image.height} enlarged {scale:g} times has "
            f"{width * height:.0f} pixels; allowed are at most {MAX_PIXELS}",
        )
    return enlarge(image, scale, upscaler)


def _encoded(image: Image.Image, notes: Mapping[str, object], encoding: Encoding) -> bytes:
    """The picture as a file, with its notes where the format has room for all of them."""
    if encoding.format.lower() != "png":
        parameters = notes.get("parameters")
        return imagecodec.encode(image, str(parameters) if parameters else None, encoding)
    text = PngImagePlugin.PngInfo()
    for key, value in notes.items():
        if isinstance(value, str):
            text.add_text(key, value)
    # a colour that the old picture showed through; in the new one it may stand anywhere
    image.info.pop("transparency", None)
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=text)
    return file.getvalue()


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"
