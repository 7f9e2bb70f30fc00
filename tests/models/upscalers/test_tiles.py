"""Tiles cover a picture, share what they are told to, and fade into each other."""

import itertools

import numpy as np
import pytest

from models.upscalers.tiles import Span, Tiling, lay, spans

LENGTHS = (1, 7, 31, 32, 33, 40, 63, 64, 65, 100, 192, 193, 200, 333, 1000, 4097)
SIZES = (-5, 0, 1, 16, 32, 33, 48, 100, 192, 512)
OVERLAPS = (-3, 0, 1, 8, 16, 31, 500)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("overlap", OVERLAPS)
def test_spans_cover_a_length_and_share_what_they_must(size: int, overlap: int) -> None:
    for length in LENGTHS:
        found = spans(length, Tiling(size=size, overlap=overlap))
        most = max(size, 32) if size > 0 else length
        assert (found[0].start, found[-1].stop) == (0, length)
        assert found[0].shared == 0
        assert all(0 < each.stop - each.start <= most for each in found)
        for one, next_ in itertools.pairwise(found):
            assert one.start < next_.start
            assert next_.shared == one.stop - next_.start >= min(max(overlap, 0), most // 2)
        assert len({each.stop - each.start for each in found}) == 1
        # windows of 8 pixels begin where those of the whole picture do
        assert all(each.start % 8 == 0 for each in found[:-1])


def test_tiles_are_as_few_and_as_small_as_can_be() -> None:
    assert spans(200, Tiling(size=192, overlap=8)) == (Span(0, 104), Span(96, 200, 8))
    assert spans(512, Tiling(size=192, overlap=8)) == (
        Span(0, 176),
        Span(168, 344, 8),
        Span(336, 512, 8),
    )
    assert spans(192, Tiling(size=192, overlap=8)) == (Span(0, 192),)
    assert spans(4096, Tiling(size=0, overlap=8)) == (Span(0, 4096),)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_piece_fades_in_and_its_outermost_pixels_do_not_show(axis: int) -> None:
    canvas = np.zeros((40, 4, 3), np.uint8)
    piece = np.full((24, 4, 3), 200, np.uint8)
    if axis:
        canvas, piece = canvas.swapaxes(0, 1).copy(), piece.swapaxes(0, 1).copy()
    lay(canvas, piece, Span(8, 20, 8), axis, 2)
    line = np.moveaxis(canvas, axis, 0)[:, 0, 0].astype(int)
    assert (line[:20] == 0).all()
    assert (line[28:] == 200).all()
    assert (np.diff(line[20:28]) == 25).all()
    assert (canvas == np.moveaxis(canvas, 2, 0)[0][..., None]).all()


def test_pieces_of_one_colour_stay_so() -> None:
    canvas = np.full((64, 64, 3), 37, np.uint8)
    for shared in (0, 1, 2, 3, 5, 16):
        lay(canvas, np.full((40, 64, 3), 37, np.uint8), Span(24, 64, shared), 0, 1)
        assert (canvas == 37).all()
