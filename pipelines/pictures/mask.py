"""Masks: read from a client's picture, softened, and boxed in. White (255) is to be repainted."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from .prepared import Box, MaskUse

_HALF_VISIBLE = 128
_ONE = 256
"""What the weights of a blur add up to: 8 bits of fraction, as OpenCV blurs 8-bit pictures."""


def read(picture: Image.Image, use: MaskUse) -> Image.Image:
    """The mask ("L") that a picture means: its alpha where that says anything, else its lightness.

    It is inverted and blurred as `use` asks.
    """
    if picture.mode == "RGBA" and picture.getextrema()[-1] != (255, 255):
        mask = picture.getchannel("A")
        if use.round:
            mask = mask.point([255 * (alpha > _HALF_VISIBLE) for alpha in range(256)])
    else:
        mask = picture.convert("L")
    if use.inverted:
        mask = ImageOps.invert(mask)
    return blurred(mask, *use.blur)


def blurred(mask: Image.Image, across: int, down: int) -> Image.Image:
    """The mask ("L") under a Gaussian of these sigmas in pixels; one of 0 or less does nothing."""
    levels = np.asarray(mask)
    for sigma, axis in ((across, 1), (down, 0)):
        if sigma > 0:
            levels = _blurred(levels, sigma, axis)
    return Image.fromarray(levels)


def box(mask: Image.Image, padding: int, width: int, height: int) -> Box | None:
    """The box around all of a mask ("L") that is not black; None where all of it is.

    It is grown by `padding`, then to the shape `width` : `height` as far as the mask's size allows.
    """
    found = mask.getbbox()
    if found is None:
        return None
    left, top, right, bottom = found
    left, top = max(left - padding, 0), max(top - padding, 0)
    right, bottom = min(right + padding, mask.width), min(bottom + padding, mask.height)
    shape = width / height
    if (right - left) / (bottom - top) > shape:
        top, bottom = _widened(top, bottom, int((right - left) / shape), mask.height)
    else:
        left, right = _widened(left, right, int((bottom - top) * shape), mask.width)
    return left, top, right, bottom


def doubled(mask: Image.Image) -> Image.Image:
    """The mask ("L") with its greys twice as light: half a mask covers wholly."""
    return mask.convert("L").point([min(2 * level, 255) for level in range(256)])


def for_latents(mask: Image.Image, use: MaskUse, width: int, height: int) -> NDArray[np.float32]:
    """The mask at the size of latents of `width` x `height` pixels, float32 from 0 to 1."""
    size = max(width // 8, 1), max(height // 8, 1)
    return _shares(mask.convert("L").resize(size), use)


def for_pixels(mask: Image.Image, use: MaskUse, size: tuple[int, int]) -> NDArray[np.float32]:
    """The mask at the size of a picture, float32 from 0 to 1."""
    plain = mask.convert("L")
    return _shares(plain if plain.size == size else plain.resize(size), use)


def _shares(mask: Image.Image, use: MaskUse) -> NDArray[np.float32]:
    shares = np.asarray(mask, np.float32) / np.float32(255)
    chosen: NDArray[np.float32] = np.around(shares) if use.round else shares
    return chosen


def _widened(low: int, high: int, wanted: int, limit: int) -> tuple[int, int]:
    """An interval grown to length `wanted` about its middle, then moved and cut into 0..limit."""
    more = max(wanted - (high - low), 0)
    low, high = low - more // 2, high + more - more // 2
    if high > limit:
        low, high = low - (high - limit), limit
    if low < 0:
        low, high = 0, high - low
    return low, min(high, limit)


def _blurred(levels: NDArray[np.uint8], sigma: int, axis: int) -> NDArray[np.uint8]:
    """The levels under a Gaussian along one axis; beyond the borders they are mirrored.

    A wide one has few weights that are not 0, so each is a shift of the whole mask.
    """
    lines = np.ascontiguousarray(np.moveaxis(levels, axis, 0))
    weights = _weights(sigma)
    radius = len(weights) // 2
    padded = np.pad(lines, ((radius, radius), (0, 0)), mode="reflect").astype(np.uint16)
    summed = np.full(lines.shape, _ONE // 2, np.uint16)
    product = np.empty_like(summed)
    for shift in np.flatnonzero(weights):
        summed += np.multiply(padded[shift : shift + len(lines)], weights[shift], out=product)
    return np.moveaxis((summed // _ONE).astype(np.uint8), 0, axis)


def _weights(sigma: int) -> NDArray[np.uint16]:
    """A Gaussian in whole 256ths that add up to 256.

    From the ends inwards each is rounded and leaves its error to the next; the middle has the rest.
    """
    radius = int(2.5 * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    exact = np.exp(-(offsets**2) / (2 * sigma**2))
    exact *= _ONE / exact.sum()
    weights = np.zeros(exact.shape, np.uint16)
    error = 0.0
    for place in range(radius):
        wanted = exact[place] + error
        weights[place] = weights[-1 - place] = round(wanted)
        error = wanted - int(weights[place])
    weights[radius] = _ONE - weights.sum()
    return weights
