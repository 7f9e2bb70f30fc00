"""Enlarging a picture by an upscaler, one that needs no weights or one that is a model."""

from collections.abc import Callable

from PIL import Image

from ..upscalers import PIXEL_UPSCALERS
from .errors import BadPicture

Tick = Callable[[float], None]
"""Told of the share that is done, from 0 to 1; what it raises ends the work."""

Upscaler = str | Callable[[Image.Image, Tick], Image.Image]
"""A name of `PIXEL_UPSCALERS`, or a model: one call enlarges by the model's own factor."""

MAX_PIXELS = 2**27
"""Pixels a picture may be enlarged to on its way."""

NONE = "None"
_STEP = 8
_TRIES = 3


def unwatched(share: float) -> None:
    """The tick of work that nobody looks at."""


def enlarge(
    image: Image.Image, scale: float, upscaler: Upscaler, tick: Tick = unwatched
) -> Image.Image:
    """The picture at `scale` times its size, each side rounded down to a multiple of 8.

    The upscaler runs until that size is reached, three times at most; Lanczos fits what is left.
    No side gets smaller than 8 pixels.

    Raises:
        BadPicture: that would be more than `MAX_PIXELS`.
        KeyError: a name that `PIXEL_UPSCALERS` lacks.
    """
    wanted = _rounded(image.width * scale), _rounded(image.height * scale)
    if wanted[0] * wanted[1] > MAX_PIXELS:
        raise BadPicture(
            f"a picture of {image.width}x{image.height} enlarged {scale:g} times: allowed are "
            f"{MAX_PIXELS} pixels"
        )
    once = _once(upscaler, scale, tick)
    for _ in range(_TRIES):
        if scale != 1 and image.width >= wanted[0] and image.height >= wanted[1]:
            break
        bigger = once(image)
        if bigger.size == image.size:
            break
        image = bigger
    return image if image.size == wanted else image.resize(wanted, Image.Resampling.LANCZOS)


def fitted(image: Image.Image, width: int, height: int, upscaler: Upscaler) -> Image.Image:
    """The picture stretched to `width` x `height`; only what has to grow meets the upscaler.

    Masks (mode "L") never do: a model would draw into them.

    Raises:
        BadPicture, KeyError: as `enlarge`.
    """
    scale = max(width / image.width, height / image.height)
    if scale > 1 and upscaler != NONE and image.mode != "L":
        image = enlarge(image, scale, upscaler)
    if image.size == (width, height):
        return image
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _rounded(side: float) -> int:
    return max(int(side // _STEP) * _STEP, _STEP)


def _once(upscaler: Upscaler, scale: float, tick: Tick) -> Callable[[Image.Image], Image.Image]:
    if not isinstance(upscaler, str):
        return lambda image: upscaler(image, tick)
    if upscaler == NONE:
        return lambda image: image
    resampling = PIXEL_UPSCALERS[upscaler]
    return lambda image: image.resize(
        (max(int(image.width * scale), 1), max(int(image.height * scale), 1)), resampling
    )
