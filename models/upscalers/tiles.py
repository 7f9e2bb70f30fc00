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
    """Stretches that cover `length`, alike in size and as few as can be.

    They begin at multiples of 8, as the windows that networks look through do, but for the last.
    """
    size = max(tiling.size, SMALLEST)
    if tiling.size <= 0 or length <= size:
        return (Span(0, length),)
    overlap = min(max(tiling.overlap, 0), size // 2)
    longest = (size - overlap) // _ALIGNED * _ALIGNED
    count = math.ceil((length - overlap) / longest)
    step = math.ceil((length - overlap) / count / _ALIGNED) * _ALIGNED
    each = step + overlap
    starts = [*range(0, length - each, step), length - each]
    return tuple(
        Span(start, start + each, before + each - start if number else 0)
        for number, (before, start) in enumerate(zip([0, *starts], starts, strict=False))
    )


def lay(canvas: Pixels, piece: Pixels, span: Span, axis: int, scale: int) -> None:
    """Lay an enlarged piece, as wide as the canvas across, over what its predecessors left there.

    Where they share pixels along `axis`, 0 down or 1 across, it fades in. The outermost of a
    piece, which the network saw from one side alone, do not show.
    """
    place = np.moveaxis(canvas, axis, 0)[span.start * scale : span.stop * scale]
    piece = np.moveaxis(piece, axis, 0)
    shared = span.shared * scale
    place[shared:] = piece[shared:]
    if shared:
        old = place[:shared].astype(np.float32)
        mixed = old + _faded(shared)[:, None, None] * (piece[:shared] - old)
        place[:shared] = (mixed + 0.5).astype(np.uint8)


def area(rows: Sequence[Span], columns: Sequence[Span]) -> int:
    """Pixels that all tiles have together."""
    return sum(each.stop - each.start for each in rows) * sum(
        each.stop - each.start for each in columns
    )


def _faded(shared: int) -> NDArray[np.float32]:
    """Weights along what is shared: none for its first quarter, all from its last."""
    margin = shared // 4
    weights = (np.arange(shared, dtype=np.float32) + 0.5 - margin) / (shared - 2 * margin)
    return np.clip(weights, 0, 1)
