"""A picture cut into tiles that share their borders, and put together again; torch-free."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""A picture's bytes: (height, width, 3)."""

SMALLEST = 32
"""Pixels that a tile's side has at least: what is smaller is mostly border."""

_ALIGNED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """Pixels of a tile's side, 0 for the whole picture, and those that neighbours share."""

    size: int
    overlap: int


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one axis; its first `shared` pixels are its predecessor's too."""

    start: int
    stop: int
    shared: int = 0


def spans(length: int, tiling: Tiling) -> tuple[Span, ...]:
    """Stretches that cover `length`, alike in size and as few as can be."""
    size = max(tiling.size, SMALLEST)
    if tiling.size <= 0 or length <= size:
        return (Span(0, length),)
    overlap = min(max(tiling.overlap, 0), size // 2)
    count = math.ceil((length - overlap) / (size - overlap))
    each = math.ceil((length + (count - 1) * overlap) / count)
    each = min(math.ceil(each / _ALIGNED) * _ALIGNED, size)
    starts = [round(number * (length - each) / (count - 1)) for number in range(count)]
    return tuple(
        Span(start, start + each, before + each - start if number else 0)
        for number, (before, start) in enumerate(zip([0, *starts], starts, strict=False))
    )


def put(canvas: Pixels, tile: Pixels, down: Span, across: Span, scale: int) -> None:
    """Lay an enlarged tile over what lies above it and to its left, fading in where they share.

    Tiles come row by row. Their outermost pixels, which the network saw from one side alone, do not
    show.
    """
    place = canvas[
        down.start * scale : down.stop * scale, across.start * scale : across.stop * scale
    ]
    if not down.shared and not across.shared:
        place[:] = tile
        return
    height, width = tile.shape[:2]
    weight = np.outer(_faded(height, down.shared * scale), _faded(width, across.shared * scale))
    mixed = place + weight[..., None] * (tile.astype(np.float32) - place)
    place[:] = (mixed + 0.5).astype(np.uint8)


def area(rows: Sequence[Span], columns: Sequence[Span]) -> int:
    """Pixels that all tiles have together."""
    return sum(each.stop - each.start for each in rows) * sum(
        each.stop - each.start for each in columns
    )


def _faded(length: int, shared: int) -> NDArray[np.float32]:
    """Weights along a tile: none for the first quarter of what is shared, all from the last."""
    margin = shared // 4
    ramp = max(shared - 2 * margin, 1)
    weights = (np.arange(length, dtype=np.float32) + 0.5 - margin) / ramp
    return np.clip(weights, 0, 1) if shared else np.ones(length, np.float32)
