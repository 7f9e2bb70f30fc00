"""What of a picture a network of RGB enlarges, and what is kept beside it; torch-free."""

import numpy as np
from PIL import Image

_GREY = frozenset({"1", "L", "LA", "La", "I", "F"})
_ALPHA = frozenset({"LA", "La", "RGBA", "RGBa", "PA"})
_16_BITS = "I;16"


class TooManyPixels(ValueError):
    """A picture would become too large; the message names the sizes and what is allowed."""

    def __init__(self, size: tuple[int, int], scale: int, allowed: int) -> None:
        width, height = size
        super().__init__(
            f"a picture of {width}x{height} enlarged {scale} times by its model would have "
            f"{width * height * scale**2} pixels; allowed are at most {allowed}"
        )


def parted(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The colours of a picture of any mode in RGB, and its alpha where it has one."""
    image = _in_8_bits(image)
    if image.mode in _ALPHA or "transparency" in image.info:
        whole = image.convert("RGBA")
        return whole.convert("RGB"), whole.getchannel("A")
    return image.convert("RGB"), None


def joined(
    enlarged: Image.Image, *, colours_of: Image.Image, alpha: Image.Image | None
) -> Image.Image:
    """The enlarged RGB, grey where the picture was, with its alpha enlarged by Lanczos."""
    if colours_of.mode in _GREY or colours_of.mode.startswith(_16_BITS):
        enlarged = enlarged.convert("L")
    if alpha is not None:
        enlarged.putalpha(alpha.resize(enlarged.size, Image.Resampling.LANCZOS))
    return enlarged


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits, or of numbers without bounds, as 8 bits."""
    if image.mode.startswith(_16_BITS) or image.mode == "I":
        values = np.asarray(image).astype(np.float64)
        deep = image.mode != "I" or values.max(initial=0) > 255
        return _grey(values / 257 if deep else values)
    if image.mode == "F":
        return _grey(np.nan_to_num(np.asarray(image)))
    return image


def _grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
