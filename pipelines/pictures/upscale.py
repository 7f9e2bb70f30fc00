"""Enlarging a picture by an upscaler, one that needs no weights or one that is a model."""

from collections.abc import Callable

from PIL import Image

from models.upscalers.colours import TooManyPixels

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
#: what most models enlarge by
_USUAL = 4


def unwatched(share: float) -> None:
    """The tick of work that nobody looks at."""


def enlarge(
    image: Image.Image, scale: float, upscaler: Upscaler, tick: Tick = unwatched
) -> Image.Image:
    """The picture at `scale` times its size, each side rounded down to a multiple of 8.

    The upscaler runs until that size is reached, three times at most, and once if it keeps the
    size; Lanczos fits what is left. No side gets smaller than 8 pixels. What `tick` raises is
    raised here.

    Raises:
        BadPicture: that would be more than `MAX_PIXELS`, or more than the model allows.
        KeyError: a name that `PIXEL_UPSCALERS` lacks.
    """
    wanted = _rounded(image.width * scale), _rounded(image.height * scale)
    if wanted[0] * wanted[1] > MAX_PIXELS:
        raise BadPicture(
            f"a picture of {image.width}x{image.height} enlarged {scale:g} times: allowed are "
            f"{MAX_PIXELS} pixels"
        )
    for number in range(_TRIES):
        before = image.size
        # at a scale of 1 it is asked for what else it does to a picture
        if before[0] >= wanted[0] and before[1] >= wanted[1] and (number or scale != 1):
            break
        try:
            image = _once(image, scale, upscaler, _part(tick, number, scale))
        except TooManyPixels as error:
            if number:
                # what is missing is less than the model's own factor
                break
            raise BadPicture(str(error)) from error
        if image.size == before:
            break
    return image if image.size == wanted else image.resize(wanted, Image.Resampling.LANCZOS)


def fitted(
    image: Image.Image, width: int, height: int, upscaler: Upscaler, tick: Tick = unwatched
) -> Image.Image:
    """The picture stretched to `width` x `height`; only what has to grow meets the upscaler.

    Masks (mode "L") never do: a model would draw into them.

    Raises:
        BadPicture, KeyError: as `enlarge`.
    """
    scale = max(width / image.width, height / image.height)
    if scale > 1 and upscaler != NONE and image.mode != "L":
        image = enlarge(image, scale, upscaler, tick)
    if image.size == (width, height):
        return image
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _rounded(side: float) -> int:
    return max(int(side // _STEP) * _STEP, _STEP)


def _once(image: Image.Image, scale: float, upscaler: Upscaler, tick: Tick) -> Image.Image:
    if not isinstance(upscaler, str):
        return upscaler(image, tick)
    if upscaler == NONE:
        return image
    size = max(int(image.width * scale), 1), max(int(image.height * scale), 1)
    return image.resize(size, PIXEL_UPSCALERS[upscaler])


def _part(tick: Tick, number: int, scale: float) -> Tick:
    """The tick of run `number`: how many there will be is told by what most models enlarge by."""
    runs = next((count for count in range(1, _TRIES) if _USUAL**count >= scale), _TRIES)
    # a run has as many pixels more than the one before
    work = [_USUAL ** (2 * each) for each in range(_TRIES)]
    before, whole = sum(work[:number]), sum(work[:runs])
    return lambda share: tick(min((before + work[number] * share) / whole, 1.0))
