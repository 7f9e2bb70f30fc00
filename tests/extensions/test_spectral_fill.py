"""Noise that continues a picture: outside untouched, inside alike, always the same."""

import numpy as np
import pytest
from numpy.typing import NDArray

from extensions.spectral_fill import fill

Array = NDArray[np.float64]


def _photo(height: int = 48, width: int = 64) -> Array:
    rng = np.random.default_rng(3)
    photo: Array = rng.random((height, width, 3)) * np.array([0.2, 0.5, 1.0])
    return photo


def _mask(height: int = 48, width: int = 64, known: int = 40) -> Array:
    mask = np.ones((height, width, 3))
    mask[:, :known] = 0
    return mask


def test_the_known_part_stays() -> None:
    photo = _photo()
    assert np.array_equal(fill(photo, _mask(), 1.0, 0.05)[:, :40], photo[:, :40])


def test_the_new_part_has_the_colours_of_the_known_one() -> None:
    photo = _photo()
    filled = fill(photo, _mask(), 1.0, 0.05)
    for share in (0.1, 0.5, 0.9):
        known = np.quantile(photo[:, :40], share, axis=(0, 1))
        new = np.quantile(filled[:, 40:], share, axis=(0, 1))
        assert np.abs(known - new).max() < 0.02
    assert filled[:, 40:].std() > 0.05


def test_it_is_always_the_same() -> None:
    first = fill(_photo(), _mask(), 1.0, 0.05)
    np.random.default_rng().random(5)
    assert np.array_equal(first, fill(_photo(), _mask(), 1.0, 0.05))


def test_colour_variation_parts_the_channels() -> None:
    grey = _photo().mean(axis=2, keepdims=True).repeat(3, axis=2)
    same = fill(grey, _mask(), 1.0, 0.0)[:, 40:]
    varied = fill(grey, _mask(), 1.0, 1.0)[:, 40:]
    assert np.abs(same[..., 0] - same[..., 1]).max() < 1e-9
    assert np.abs(varied[..., 0] - varied[..., 1]).max() > 0.05


def test_the_falloff_changes_the_grain() -> None:
    coarse = fill(_photo(), _mask(), 2.0, 0.05)[:, 40:]
    fine = fill(_photo(), _mask(), 0.0, 0.05)[:, 40:]
    assert not np.allclose(coarse, fine)


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("known", [0, 40, 64])
def test_flat_pictures_and_masks_give_numbers(value: float, known: int) -> None:
    filled = fill(np.full((48, 64, 3), value), _mask(known=known), 1.0, 0.05)
    assert np.isfinite(filled).all()
    assert filled.min() >= 0 and filled.max() <= 1
