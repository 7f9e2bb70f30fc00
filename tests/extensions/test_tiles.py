"""Tiles: where they lie, and that they make the picture they were cut from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from extensions.protocol import BadScriptArgs
from extensions.tiles import Tiling

from .fakes import picture


def _gradient(width: int, height: int) -> Image.Image:
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(
        np.stack([across % 256, down % 256, (across + down) % 256], axis=-1).astype(np.uint8)
    )


def test_tiles_are_spread_evenly() -> None:
    tiling = Tiling.of((128, 100), 64, 64, 16)
    assert (tiling.columns, tiling.rows) == ((0, 32, 64), (0, 36))
    assert list(tiling.boxes())[:2] == [(0, 0, 64, 64), (32, 0, 96, 64)]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(20, 90), st.integers(20, 90), st.integers(16, 64), st.integers(16, 64), st.data()
)
def test_tiles_make_the_picture_they_were_cut_from(
    width: int, height: int, tile_width: int, tile_height: int, data: st.DataObject
) -> None:
    tile_width, tile_height = min(tile_width, width), min(tile_height, height)
    overlap = data.draw(st.integers(0, min(tile_width, tile_height, width, height) - 1))
    image = _gradient(width, height)
    tiling = Tiling.of(image.size, tile_width, tile_height, overlap)
    joined = tiling.join(tiling.split(image))
    assert joined.size == image.size
    # mixing two equal pixels rounds
    assert np.abs(np.asarray(joined, int) - np.asarray(image, int)).max() <= 1


def test_a_seam_goes_over_from_one_tile_to_the_next() -> None:
    tiling = Tiling.of((48, 32), 32, 32, 16)
    black, white = Image.new("RGB", (32, 32)), Image.new("RGB", (32, 32), "white")
    row = np.asarray(tiling.join([black, white]))[10, :, 0].astype(int)
    assert row[:17].tolist() == [0] * 17
    assert row[32:].tolist() == [255] * 16
    assert row[16:32].tolist() == [15 * step + step * 15 // 16 for step in range(16)]


def test_missing_tiles_are_black() -> None:
    tiling = Tiling.of((128, 64), 64, 64, 0)
    joined = tiling.join([picture("a")])
    assert joined.getpixel((0, 0)) == picture("a").getpixel((0, 0))
    assert joined.getpixel((127, 0)) == (0, 0, 0)


def test_a_picture_smaller_than_a_tile_has_one() -> None:
    tiling = Tiling.of((40, 64), 64, 64, 8)
    assert (tiling.columns, tiling.rows) == ((-24,), (0,))
    (tile,) = tiling.split(_gradient(40, 64))
    assert tile.size == (64, 64)
    joined = np.asarray(tiling.join([tile]))
    assert np.array_equal(joined, np.asarray(_gradient(40, 64)))


@pytest.mark.parametrize(
    ("size", "overlap", "said"),
    [
        ((128, 128), 64, "overlap 64: allowed are 0 to less than the tiles' 64x64"),
        ((128, 128), 10**9, "overlap 1000000000"),
        ((128, 128), -1, "overlap -1"),
        ((20, 128), 32, "the picture's 20x128"),
        ((4096, 4096), 63, "tiles: "),
        ((10**6, 10**6), 8, "pixels"),
    ],
)
def test_what_cannot_be_tiled_is_refused(size: tuple[int, int], overlap: int, said: str) -> None:
    with pytest.raises(BadScriptArgs, match=said):
        Tiling.of(size, 64, 64, overlap)
