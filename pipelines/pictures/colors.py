"""Colour correction: a result gets the init picture's colours and keeps its own lightness."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: linear sRGB to XYZ, and the white point D65, as OpenCV has them
_TO_XYZ = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
)
_WHITE = np.array([0.950456, 1.0, 1.088754])
#: fractions of OpenCV's 8-bit conversion: of linear light, of the matrix, of cube roots
_LIGHT, _MATRIX, _ROOT = 3, 12, 15
#: up to here CIE's curve is a straight line
_STRAIGHT = 216 / 24389
_LUMA = np.array([0.299, 0.587, 0.114])


def to_lab(image: Image.Image) -> NDArray[np.uint8]:
    """A picture's CIE L*a*b* as 8 bits, [H, W, 3]: L from 0 to 255, a and b about 128.

    In whole numbers and with tables, as OpenCV's `COLOR_RGB2LAB` does: rounding elsewhere would
    shift the histograms that are matched.
    """
    light, roots, matrix = _tables()
    xyz = light[np.asarray(image.convert("RGB"))] @ matrix.T
    x, y, z = np.moveaxis(roots[_descaled(xyz, _MATRIX)], -1, 0)
    one = 1 << _ROOT
    l_scale, l_shift = (116 * 255 + 50) // 100, (16 * 255 * one + 50) // 100
    lab = (l_scale * y - l_shift, 500 * (x - y) + 128 * one, 200 * (y - z) + 128 * one)
    levels = np.stack([_descaled(channel, _ROOT) for channel in lab], axis=-1)
    return _levels(levels.clip(0, 255))


def from_lab(lab: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """8-bit L*a*b* as `to_lab` has it back to RGB [H, W, 3]; what sRGB lacks is clipped."""
    l_star, a, b = np.moveaxis(lab.astype(np.float64), -1, 0)
    y = (l_star * 100 / 255 + 16) / 116
    roots = np.stack([y + (a - 128) / 500, y, y - (b - 128) / 200], axis=-1)
    straight = (roots - 16 / 116) * (108 / 841)
    xyz = np.where(roots**3 > _STRAIGHT, roots**3, straight) * _WHITE
    light = (xyz @ np.linalg.inv(_TO_XYZ).T).clip(0, 1)
    rgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return _levels(np.rint(255 * rgb))


def corrected(image: Image.Image, target: NDArray[np.uint8]) -> Image.Image:
    """The picture (RGB) with the colours of `target` (LAB of any size) and its own lightness."""
    own = to_lab(image)
    matched = np.stack([_matched(own[..., k], target[..., k]) for k in range(3)], axis=-1)
    shown = np.asarray(image.convert("RGB")) / 255
    return Image.fromarray(_with_luma(from_lab(matched) / 255, shown @ _LUMA))


def _matched(levels: NDArray[np.uint8], target: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One channel with the distribution of another: each level goes where its quantile lies."""
    counts, wanted = (np.bincount(each.ravel(), minlength=256) for each in (levels, target))
    present = np.flatnonzero(wanted)
    quantiles = np.cumsum(counts) / levels.size
    moved = np.interp(quantiles, np.cumsum(wanted[present]) / target.size, present)
    return _levels(moved)[levels]


def _with_luma(colors: NDArray[np.float64], luma: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colours (0 to 1) moved to another luma; what leaves the range is drawn towards its grey.

    The blend mode "luminosity" of W3C Compositing and Blending.
    """
    moved = colors + (luma - colors @ _LUMA)[..., None]
    grey = (moved @ _LUMA)[..., None]
    low, high = moved.min(-1, keepdims=True), moved.max(-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.where(low < 0, grey + (moved - grey) * grey / (grey - low), moved)
        moved = np.where(high > 1, grey + (moved - grey) * (1 - grey) / (high - grey), moved)
    return _levels(moved.clip(0, 1) * 255)


def _levels(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Numbers from 0 to 255 as bytes, fractions cut off."""
    levels: NDArray[np.uint8] = values.astype(np.uint8)
    return levels


def _descaled(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Fixed-point numbers rounded to whole ones."""
    return (values + (1 << (bits - 1))) >> bits


@cache
def _tables() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Linear light of each level, the cube root (CIE's) of each light, and the matrix to XYZ."""
    levels = np.arange(256) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    lights = np.arange(256 * 3 // 2 << _LIGHT) / (255 << _LIGHT)
    roots = np.where(lights < _STRAIGHT, lights * (841 / 108) + 16 / 116, np.cbrt(lights))
    matrix = _TO_XYZ / _WHITE[:, None]
    return (
        _whole(linear * (255 << _LIGHT)),
        _whole(roots * (1 << _ROOT)),
        _whole(matrix * (1 << _MATRIX)),
    )


def _whole(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(values).astype(np.int64)
