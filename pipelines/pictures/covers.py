"""Soft inpainting's masks: they follow what changed, in place of the client's mask."""

import math
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from .prepared import Prepared
from .resize import CROP, FILL, resized
from .soft import SoftInpainting

_Map = NDArray[np.float64]

_RADIUS = 2
_SPREAD = 1.5
"""Of the bell that weighs a window, in latent pixels: exp(-(distance / spread) ** 2)."""
_NARROWEST = 1.0
"""Weight that a mean of part of a window takes in at least; the middle of the window has this."""
_PIXEL_BLUR = 4
_ALMOST_ONE = 1.00001


def soft_covers(
    prepared: Prepared,
    size: tuple[int, int],
    before: NDArray[np.float32],
    after: NDArray[np.float32],
) -> list[Image.Image]:
    """A mask ("L", white where the result is to be seen) for each image of a batch.

    `before` are the init latents and `after` the results, both [N, C, h, w]; `size` is the wanted
    width and height in pixels. Masks have their original's size.
    """
    inpainting = prepared.inpainting
    assert inpainting is not None and inpainting.soft is not None, "soft inpainting of no mask"
    soft = inpainting.soft
    half = soft.difference_threshold * _tolerance(soft, inpainting.latents)
    made = []
    for position, moved in enumerate(np.linalg.norm(after - before, axis=1)):
        shown = _opacity(moved, half, soft.difference_contrast)
        levels = Image.fromarray((255 * shown).astype(np.uint8))
        cover = resized(levels, FILL, *size).convert("L")
        cover = cover.filter(ImageFilter.GaussianBlur(_PIXEL_BLUR))
        if inpainting.paste is not None:
            cover = _placed(cover, prepared, position)
        made.append(cover)
    return made


def _tolerance(soft: SoftInpainting, mask: NDArray[np.float32]) -> _Map:
    """What the threshold is multiplied by at each place: more, the less the mask covers it."""
    kept = 1 - mask.astype(np.float64).clip(0, 1) ** (soft.preservation_strength / 2)
    share = 0.5 * (1 - soft.mask_influence) + kept * soft.mask_influence
    odds: _Map = share / (_ALMOST_ONE - share)
    return odds


def _opacity(moved: NDArray[np.float32], half: _Map, contrast: float) -> _Map:
    """How much of the result is seen, 0 to 1, where latents moved so far and `half` means half."""
    distance = _window_means(moved.astype(np.float64), 0.9, 1.0)
    distance = _window_means(distance, 0.25, 0.75)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        kept = np.nan_to_num(1 / (1 + (distance / half) ** contrast), nan=1.0)
    smooth = kept**3 * (kept * (6 * kept - 15) + 10)
    seen: _Map = 1 - smooth
    return seen


def _window_means(values: _Map, low: float, high: float) -> _Map:
    """At each place the weighted mean of its window's values between two quantiles.

    (0.9, 1) is a soft maximum, (0.25, 0.75) a soft median. Windows are cut at the borders.
    """
    reach = range(-_RADIUS, _RADIUS + 1)
    padded = np.pad(values, _RADIUS)
    inside = np.pad(np.ones_like(values), _RADIUS)
    height, width = values.shape
    windows, weights = [], []
    for down, across in product(reach, reach):
        rows = slice(_RADIUS + down, _RADIUS + down + height)
        columns = slice(_RADIUS + across, _RADIUS + across + width)
        windows.append(padded[rows, columns])
        weights.append(inside[rows, columns] * _weight(down**2 + across**2))
    stack, weight = np.stack(windows), np.stack(weights)
    order = np.argsort(stack, axis=0, kind="stable")
    stack, weight = np.take_along_axis(stack, order, 0), np.take_along_axis(weight, order, 0)
    tops = np.cumsum(weight, axis=0)
    start, end = _interval(tops[-1], low, high)
    share = (np.minimum(end, tops) - np.maximum(start, tops - weight)).clip(0)
    means: _Map = (stack * share).sum(axis=0) / share.sum(axis=0)
    return means


def _weight(square: int) -> float:
    """What a value at a distance (squared) weighs: a bell from 1 to 0 just outside the window."""
    end = math.exp(-((_RADIUS + 1) ** 2) / _SPREAD**2)
    return max((math.exp(-square / _SPREAD**2) - end) / (1 - end), 0.0)


def _interval(total: _Map, low: float, high: float) -> tuple[_Map, _Map]:
    """The part of 0..total between two quantiles, widened to `_NARROWEST` and moved inside."""
    start, end = low * total, high * total
    narrow = end - start < _NARROWEST
    middle = (start + end) / 2
    first = np.clip(middle - _NARROWEST / 2, 0, total - _NARROWEST)
    return np.where(narrow, first, start), np.where(narrow, first + _NARROWEST, end)


def _placed(cover: Image.Image, prepared: Prepared, position: int) -> Image.Image:
    """A mask of the part that was drawn, on black in the place of that part."""
    assert prepared.inpainting is not None
    assert prepared.inpainting.paste is not None
    left, top, right, bottom = prepared.inpainting.paste
    ground = Image.new("L", prepared.originals[prepared.which(position)].size)
    part = resized(cover, CROP, right - left, bottom - top, prepared.upscaler)
    ground.paste(part.convert("L"), (left, top))
    return ground
