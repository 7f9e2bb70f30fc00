"""Faces taken out of a picture upright and put back; torch-free.

A face is turned, moved and scaled so that its five points come to lie where those of an upright
face of FFHQ (https://arxiv.org/abs/1812.04948) do, at 512x512 pixels: that is what restorers have
learnt. Such a transform is w = a z + b over complex numbers, and a, b by least squares.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.floating]
Pixels = NDArray[np.uint8]

SIDE = 512
#: eyes, nose, corners of the mouth, in pixels of the upright face; as published with FFHQ's tools
UPRIGHT = np.array(
    [
        (192.98138, 239.94708),
        (318.90277, 240.1936),
        (256.63416, 314.01935),
        (201.26117, 371.41043),
        (313.08905, 371.15118),
    ]
)
LEAST_EYES = 5.0
"""Pixels between the eyes of a face that is worth restoring; webui has the same bound."""
#: of the upright face: how far from its border the original shows alone, and then less and less
_BORDER, _FEATHER = 16, 64
#: pixels of the picture that are mixed at a time: in numbers of four bytes they take room
_BAND = 1 << 20


@dataclass(frozen=True, slots=True)
class Alignment:
    """Places in a picture to places in the upright face: w = turn * z + move."""

    turn: complex
    move: complex

    @classmethod
    def of(cls, points: Floats) -> "Alignment | None":
        """The alignment of a face of five points, [5, 2]; None for one that cannot be aligned.

        That is one whose eyes are less than `LEAST_EYES` apart, or whose points are no face's.
        """
        points = np.asarray(points, np.float64)
        if points.shape != (5, 2) or not np.isfinite(points).all():
            return None
        if math.dist(points[0], points[1]) < LEAST_EYES:
            return None
        found, wanted = _complex(points), _complex(UPRIGHT)
        middle, centre = found.mean(), wanted.mean()
        spread = found - middle
        turn = complex(np.vdot(spread, wanted - centre) / np.vdot(spread, spread).real)
        if not 1e-3 < abs(turn) < SIDE:
            return None
        return cls(turn, complex(centre - turn * middle))

    @property
    def side(self) -> float:
        """Pixels of the picture that the upright face's side takes."""
        return SIDE / abs(self.turn)

    def area(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of what it takes of a picture; may reach beyond it."""
        corners = np.array([0, SIDE, SIDE * 1j, SIDE * (1 + 1j)])
        places = (corners - self.move) / self.turn
        left, top = places.real.min(), places.imag.min()
        right, bottom = places.real.max(), places.imag.max()
        return math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)


def take(picture: Pixels, face: Alignment) -> Pixels:
    """The upright face of [height, width, 3], [512, 512, 3]; beyond the picture its edge goes on.

    The face must reach into the picture.
    """
    left, top, right, bottom = face.area()
    inside = _inside(face, picture)
    region = Image.fromarray(picture[inside.rows, inside.columns])
    stretch = (1.0, 1.0)
    if face.side > SIDE:
        region, stretch = _shrunk(region, SIDE / face.side)
    across, down = stretch
    before = math.ceil((inside.left - left) * across), math.ceil((inside.top - top) * down)
    after = math.ceil((right - inside.right) * across), math.ceil((bottom - inside.bottom) * down)
    sides = ((before[1], after[1]), (before[0], after[0]), (0, 0))
    padded = Image.fromarray(np.pad(np.asarray(region), sides, mode="edge"))
    # from a pixel of the upright face to one of what was cut out
    origin = complex(inside.left - before[0] / across, inside.top - before[1] / down)
    ways = _ways(1 / face.turn, -face.move / face.turn - origin, stretch)
    return _whole(_warped(padded, ways, (SIDE, SIDE)))


def put(picture: Pixels, face: Alignment, upright: Pixels) -> None:
    """Put an upright face into the picture it was taken from, [height, width, 3], in place.

    Its border fades out; what the face does not cover keeps its values to the bit. The face must
    reach into the picture.
    """
    inside = _inside(face, picture)
    given, cover = Image.fromarray(upright), _cover()
    stretch = (1.0, 1.0)
    if face.side < SIDE:
        given, stretch = _shrunk(given, face.side / SIDE)
        cover, _ = _shrunk(cover, face.side / SIDE, Image.Resampling.BILINEAR)
    width = inside.right - inside.left
    rows = max(1, _BAND // width)
    for top in range(inside.top, inside.bottom, rows):
        # from a pixel of the band to one of the upright face, which may have been shrunk
        ways = _ways(face.turn, face.move + face.turn * complex(inside.left, top), stretch)
        band = picture[top : min(top + rows, inside.bottom), inside.columns]
        size = (width, len(band))
        seen = _warped(cover, ways, size).clip(0, 255) / 255
        band[:] = _whole(band + (_warped(given, ways, size) - band) * seen)


def _complex(points: Floats) -> NDArray[np.complex128]:
    """Points as numbers; that of a pixel is its middle."""
    return points[:, 0] + 0.5 + 1j * (points[:, 1] + 0.5)


@dataclass(frozen=True, slots=True)
class _Inside:
    """The part of a picture that a face takes."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def rows(self) -> slice:
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.right)


def _inside(face: Alignment, picture: Pixels) -> _Inside:
    left, top, right, bottom = face.area()
    height, width = picture.shape[:2]
    return _Inside(max(left, 0), max(top, 0), min(right, width), min(bottom, height))


def _ways(
    turn: complex, move: complex, stretch: tuple[float, float]
) -> tuple[float, float, float, float, float, float]:
    """The six numbers that Pillow takes: where a pixel's value comes from."""
    across, down = stretch
    return (
        *(turn.real * across, -turn.imag * across, move.real * across),
        *(turn.imag * down, turn.real * down, move.imag * down),
    )


def _shrunk(
    image: Image.Image, scale: float, by: Image.Resampling = Image.Resampling.LANCZOS
) -> tuple[Image.Image, tuple[float, float]]:
    """A smaller picture, so that warping it leaves no pixel out, and how much smaller."""
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    smaller = image.resize(size, by)
    return smaller, (size[0] / image.width, size[1] / image.height)


def _warped(
    image: Image.Image, ways: tuple[float, float, float, float, float, float], size: tuple[int, int]
) -> NDArray[np.float32]:
    """[height, width, channels], 0 beyond the picture; in whole numbers Pillow would round down."""
    made = [
        band.convert("F").transform(size, Image.Transform.AFFINE, ways, Image.Resampling.BICUBIC)
        for band in image.split()
    ]
    return np.stack([np.asarray(band) for band in made], axis=-1)


def _whole(values: Floats) -> Pixels:
    return np.rint(values).clip(0, 255).astype(np.uint8)


def _cover() -> Image.Image:
    """How much shows of each pixel of the upright face: all but at its border, where none does."""
    near = np.minimum(np.arange(SIDE) + 0.5, SIDE - 0.5 - np.arange(SIDE))
    ramp = np.clip((near - _BORDER) / _FEATHER, 0, 1)
    smooth = ramp * ramp * (3 - 2 * ramp)
    return Image.fromarray(np.rint(255 * np.outer(smooth, smooth)).astype(np.uint8))
