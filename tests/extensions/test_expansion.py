"""How far a picture grows, and the masks of that."""

import numpy as np
import pytest

from extensions.expansion import Growth, growth, masked
from extensions.protocol import BadScriptArgs

from .fakes import picture


@pytest.mark.parametrize(
    ("size", "pixels", "directions", "expected"),
    [
        ((64, 64), 64, ("right",), (0, 64, 0, 0, 128, 64)),
        ((64, 64), 32, ("left", "right"), (32, 32, 0, 0, 128, 64)),
        ((100, 64), 10, ("left", "right"), (14, 14, 0, 0, 128, 64)),
        ((64, 70), 8, ("up",), (0, 0, 58, 0, 64, 128)),
        ((64, 64), 1, ("left", "right", "up", "down"), (32, 32, 32, 32, 128, 128)),
        ((70, 64), 64, ("down",), (0, 0, 0, 64, 128, 128)),
    ],
)
def test_sizes_are_filled_up_to_multiples_of_64(
    size: tuple[int, int], pixels: int, directions: tuple[str, ...], expected: tuple[int, ...]
) -> None:
    left, right, up, down, width, height = expected
    grown = growth(picture("a", *size), pixels, directions)
    assert grown == Growth(left=left, right=right, up=up, down=down, width=width, height=height)


@pytest.mark.parametrize(
    ("pixels", "directions", "said"),
    [
        (64, ("sideways",), "direction 'sideways': allowed are left, right, up, down"),
        (64, (), "direction names no side"),
        (0, ("left",), "pixels 0: allowed are 1 to"),
        (10**9, ("left",), "pixels 1000000000"),
        (2**14, ("left", "right", "up", "down"), "the grown picture would have"),
    ],
)
def test_growth_out_of_bounds_is_refused(
    pixels: int, directions: tuple[str, ...], said: str
) -> None:
    with pytest.raises(BadScriptArgs, match=said):
        growth(picture("a"), pixels, directions)


def test_a_mask_is_black_over_what_is_kept() -> None:
    mask = np.asarray(masked((10, 6), (2, 1, 5, 6)))
    assert mask.shape == (6, 10)
    assert (mask[1:, 2:6] == 0).all()
    assert (mask == 0).sum() == 5 * 4
    assert (np.asarray(masked((10, 6), (7, 0, 3, 6))) == 255).all()
