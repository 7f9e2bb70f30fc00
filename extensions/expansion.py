"""Growing a picture outwards, as both outpainting scripts do."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from .limits import check_choice, check_size, check_span
from .protocol import BadScriptArgs

DIRECTIONS = ("left", "right", "up", "down")
_STEP = 64
_MOST = 2**23
"""Pixels of a grown picture; its spectrum takes a hundred bytes for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How many pixels a picture grows by on each side; `width` and `height` are what it becomes."""

    left: int
    right: int
    up: int
    down: int
    width: int
    height: int


def growth(picture: Image.Image, pixels: int, directions: Sequence[str]) -> Growth:
    """Growth by `pixels` on the sides named, filled up so that the sizes are multiples of 64.

    Raises BadScriptArgs for other names, and for a number of pixels or a result out of bounds.
    """
    if not directions:
        raise BadScriptArgs(f"direction names no side: allowed are {', '.join(DIRECTIONS)}")
    for direction in directions:
        check_choice("direction", direction, DIRECTIONS)
    check_span("pixels", pixels, 1, 2**14)
    left, right, width = _sides(picture.width, pixels, "left" in directions, "right" in directions)
    up, down, height = _sides(picture.height, pixels, "up" in directions, "down" in directions)
    check_size("the grown picture", width, height, _MOST)
    return Growth(left=left, right=right, up=up, down=down, width=width, height=height)


def _sides(length: int, pixels: int, before: bool, after: bool) -> tuple[int, int, int]:
    first, last = pixels * before, pixels * after
    total = math.ceil((length + first + last) / _STEP) * _STEP
    added = total - length
    if first:
        first = first * added // (first + last)
    return first, added - first if last else 0, total


def masked(size: tuple[int, int], kept: tuple[int, int, int, int]) -> Image.Image:
    """A mask of mode "L": white, black over the box `kept`, its last row and column included."""
    mask = Image.new("L", size, "white")
    if kept[2] >= kept[0] and kept[3] >= kept[1]:
        ImageDraw.Draw(mask).rectangle(kept, fill="black")
    return mask
