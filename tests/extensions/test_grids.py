"""Grids and labels; their places and looks against what the reference drew."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from extensions.grids import Label, Labels, Style, cell_size, check_grid, grid, labelled, rows_of
from extensions.protocol import BadScriptArgs

from .fakes import OPTIONS, picture

DATA = Path(__file__).parent.parent / "data" / "grids"


def _lines(*texts: str) -> Labels:
    return [[Label(text)] for text in texts]


@pytest.mark.parametrize(
    ("file", "columns", "rows"),
    [
        (
            "xyz_labels.png",
            _lines("Steps: 3", "Steps: 5"),
            _lines("CFG Scale: 2.0", "CFG Scale: 7.0"),
        ),
        (
            "matrix_labels.png",
            [[Label("red", False)], [Label("red")]],
            [[Label("big", False)], [Label("big")]],
        ),
    ],
)
def test_labels_are_where_the_reference_puts_them(file: str, columns: Labels, rows: Labels) -> None:
    """But for single pixels, which depend on the version of the type's rasteriser."""
    recorded = np.asarray(Image.open(DATA / file).convert("RGB"), int)
    sheet = Image.new("RGB", (128, 128), (128, 128, 128))
    drawn = np.asarray(labelled(sheet, (64, 64), columns, rows, Style()), int)
    assert drawn.shape == recorded.shape
    apart = (np.abs(drawn - recorded).max(axis=-1) > 4).sum()
    inked = (recorded.max(axis=-1) < 250).sum() - 128 * 128
    assert inked > 100
    assert apart < 30


def test_a_grid_is_filled_row_by_row() -> None:
    images = [picture(str(number), 8, 6) for number in range(5)]
    sheet = grid(images, 2, Style())
    assert sheet.size == (24, 12)
    for number, image in enumerate(images):
        corner = number % 3 * 8, number // 3 * 6
        assert sheet.getpixel(corner) == image.getpixel((0, 0))
    assert sheet.getpixel((23, 11)) == (255, 255, 255)


def test_smaller_pictures_are_centred_on_the_background() -> None:
    sheet = grid([picture("a", 10, 8), picture("b", 4, 4)], 1, Style(background=(9, 9, 9)))
    assert sheet.size == (20, 8)
    assert sheet.getpixel((12, 1)) == (9, 9, 9)
    assert sheet.getpixel((13, 2)) == picture("b").getpixel((0, 0))
    assert cell_size([picture("a", 10, 2), picture("b", 4, 8)]) == (10, 8)


def test_more_rows_than_pictures_are_as_many_as_pictures() -> None:
    assert grid([picture("a", 4, 4)] * 2, 9, Style()).size == (4, 8)


@pytest.mark.parametrize(
    ("count", "changes", "rows"),
    [
        (4, {}, 2),
        (5, {}, 2),
        (7, {}, 3),
        (7, {"grid_prevent_empty_spots": True}, 1),
        (12, {"grid_prevent_empty_spots": True}, 3),
        (12, {"n_rows": 5}, 5),
        (12, {"n_rows": 0}, 6),
    ],
)
def test_rows_follow_the_settings(count: int, changes: dict[str, Any], rows: int) -> None:
    assert rows_of(count, 6, {**OPTIONS, **changes}) == rows


def test_a_margin_parts_the_cells() -> None:
    sheet = grid([picture(str(number), 10, 10) for number in range(4)], 2, Style())
    parted = labelled(sheet, (10, 10), [[], []], [[], []], Style(), margin=3)
    assert parted.size == (23, 23)
    assert parted.getpixel((10, 5)) == (255, 255, 255)
    assert parted.getpixel((13, 0)) == picture("1").getpixel((0, 0))
    assert parted.getpixel((13, 13)) == picture("3").getpixel((0, 0))


def test_no_label_takes_no_room() -> None:
    sheet = grid([picture("a", 40, 40)], 1, Style())
    assert labelled(sheet, (40, 40), _lines(""), _lines(""), Style()).size == (40, 40)


def test_long_labels_are_broken_and_a_long_word_is_made_smaller() -> None:
    sheet = Image.new("RGB", (100, 100))
    one = labelled(sheet, (100, 100), _lines("word"), _lines(""), Style())
    many = labelled(sheet, (100, 100), _lines("word " * 30), _lines(""), Style())
    long = labelled(sheet, (100, 100), _lines("w" * 90), _lines(""), Style())
    assert many.height > 2 * one.height - 100
    assert _ink_columns(long) <= 100


def _ink_columns(image: Image.Image) -> int:
    above = np.asarray(image)[:-100].min(axis=(0, 2))
    return int((above < 128).sum())


@pytest.mark.parametrize("texts", [["", "x"], ["日本語", "\n\t"], ["(" * 5000, "a" * 5000]])
def test_any_text_can_be_a_label(texts: Sequence[str]) -> None:
    sheet = Image.new("RGB", (64, 32))
    assert labelled(sheet, (32, 32), _lines(*texts), _lines(texts[1]), Style()).width >= 64


def test_colours_are_settings() -> None:
    style = Style.of({**OPTIONS, "grid_background_color": "#102030"})
    assert style == Style(background=(16, 32, 48))
    assert Style.of(OPTIONS) == Style()
    with pytest.raises(BadScriptArgs, match="grid_text_active_color is no colour: 'bluish'"):
        Style.of({**OPTIONS, "grid_text_active_color": "bluish"})


@pytest.mark.parametrize(
    ("columns", "margin", "said"),
    [(10**6, 0, "the grid would have"), (2, 501, "margin_size 501"), (2, -1, "margin_size -1")],
)
def test_a_grid_out_of_bounds_is_refused(columns: int, margin: int, said: str) -> None:
    with pytest.raises(BadScriptArgs, match=said):
        check_grid(columns, 1, (512, 512), margin)
    check_grid(10, 10, (512, 512), 500)
