"""A large picture as overlapping tiles, and tiles blended into a picture again."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .limits import check_count, check_size
from .protocol import BadScriptArgs


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """Where tiles of `width` x `height` lie on a picture of `size`, with at least `overlap`.

    `columns` are their left edges, `rows` their upper ones, spread evenly. A picture smaller than a
    tile has one tile, which begins outside of it.
    """

    size: tuple[int, int]
    width: int
    height: int
    overlap: int
    columns: tuple[int, ...]
    rows: tuple[int, ...]

    @classmethod
    def of(cls, size: tuple[int, int], width: int, height: int, overlap: int) -> "Tiling":
        """Tiles that cover a picture. Raises BadScriptArgs for an overlap that leaves none."""
        if not 0 <= overlap < min(width, height, *size):
            raise BadScriptArgs(
                f"overlap {overlap}: allowed are 0 to less than the tiles' {width}x{height} "
                f"and the picture's {size[0]}x{size[1]}"
            )
        check_size("the picture", *size)
        counts = (
            math.ceil((size[0] - overlap) / (width - overlap)),
            math.ceil((size[1] - overlap) / (height - overlap)),
        )
        check_count("tiles", counts[0] * counts[1])
        return cls(
            size=size,
            width=width,
            height=height,
            overlap=overlap,
            columns=_starts(size[0], width, counts[0]),
            rows=_starts(size[1], height, counts[1]),
        )

    def boxes(self) -> Iterator[tuple[int, int, int, int]]:
        """Every tile as left, top, right, bottom; row by row."""
        for y in self.rows:
            for x in self.columns:
                yield x, y, x + self.width, y + self.height

    def split(self, image: Image.Image) -> list[Image.Image]:
        """The tiles of a picture; black where a tile reaches over its edge."""
        return [image.crop(box) for box in self.boxes()]

    def join(self, tiles: Sequence[Image.Image]) -> Image.Image:
        """A picture of tiles in the order of `boxes`; a black one stands in where they run out.

        Each begins, over `overlap` pixels, as its neighbour's and ends as itself.
        """
        result = Image.new("RGB", self.size)
        across = _ramp(self.overlap, self.height, horizontal=True)
        down = _ramp(self.overlap, self.size[0], horizontal=False)
        pending = iter(tiles)
        for y in self.rows:
            strip = Image.new("RGB", (self.size[0], self.height))
            for x in self.columns:
                tile = next(pending, None) or Image.new("RGB", (self.width, self.height))
                _lay(strip, tile, (x, 0), (self.overlap, 0), across if x else None)
            _lay(result, strip, (0, y), (0, self.overlap), down if y else None)
        return result


def _starts(length: int, tile: int, count: int) -> tuple[int, ...]:
    """The first pixels of `count` tiles, evenly spread, the last of them at the end."""
    last = length - tile
    return (*(int(index * last / (count - 1)) for index in range(count - 1)), last)


def _ramp(overlap: int, length: int, *, horizontal: bool) -> Image.Image | None:
    """A mask from 0 towards 255 over `overlap` pixels, `length` long; None for no overlap."""
    if not overlap:
        return None
    values = (np.arange(overlap, dtype=np.float32) * 255 / overlap).astype(np.uint8)
    repeated = np.tile(values, (length, 1))
    return Image.fromarray(repeated if horizontal else np.ascontiguousarray(repeated.T))


def _lay(
    canvas: Image.Image,
    piece: Image.Image,
    at: tuple[int, int],
    seam: tuple[int, int],
    ramp: Image.Image | None,
) -> None:
    """Put `piece` on `canvas`; with a ramp its first `seam` pixels mix with what is there."""
    if ramp is None:
        canvas.paste(piece, at)
        return
    first = piece.crop((0, 0, seam[0] or piece.width, seam[1] or piece.height))
    rest = piece.crop((*seam, piece.width, piece.height))
    canvas.paste(first, at, ramp)
    canvas.paste(rest, (at[0] + seam[0], at[1] + seam[1]))
