"""Grids: pictures side by side, and the labels around them.

Laid out as the reference does it; equal to the pixel under the Pillow it runs on (9.5), which
places some glyphs of small text a little differently.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import Any

from PIL import Image, ImageColor, ImageDraw, ImageFont

from .limits import check_size, check_span
from .protocol import BadScriptArgs

_MARGINS = 500
"""Pixels there may be between the cells of a grid."""

_SHOWN = 1000
"""Characters of a label that are drawn."""


@dataclass(frozen=True, slots=True)
class Label:
    """A line of text beside a grid; one that is not `active` is grey and struck out."""

    text: str
    active: bool = True


Labels = Sequence[Sequence[Label]]
"""The labels of every column, or of every row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """The colours of a grid, RGB."""

    active: tuple[int, ...] = (0, 0, 0)
    inactive: tuple[int, ...] = (153, 153, 153)
    background: tuple[int, ...] = (255, 255, 255)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Style":
        """The colours that the settings name. Raises BadScriptArgs for one that is none."""
        return cls(
            active=_color(options, "grid_text_active_color"),
            inactive=_color(options, "grid_text_inactive_color"),
            background=_color(options, "grid_background_color"),
        )


def _color(options: Mapping[str, Any], name: str) -> tuple[int, ...]:
    try:
        color = ImageColor.getcolor(options[name], "RGB")
    except ValueError:
        raise BadScriptArgs(f"setting {name} is no colour: {options[name]!r:.80}") from None
    assert isinstance(color, tuple)
    return color


def rows_of(count: int, batch_size: int, options: Mapping[str, Any]) -> int:
    """How many rows the settings give to a grid of `count` pictures."""
    if options["n_rows"] > 0:
        return int(options["n_rows"])
    if options["n_rows"] == 0:
        return batch_size
    if options["grid_prevent_empty_spots"]:
        return next(rows for rows in range(math.isqrt(count), 0, -1) if count % rows == 0)
    return round(math.sqrt(count))


def check_grid(columns: int, rows: int, cell: tuple[int, int], margin: int = 0) -> None:
    """Refuse a grid that would be too large. Raises BadScriptArgs."""
    check_span("margin_size", margin, 0, _MARGINS)
    width, height = cell
    check_size("the grid", columns * (width + margin), rows * (height + margin))


def grid(images: Sequence[Image.Image], rows: int, style: Style) -> Image.Image:
    """Pictures in `rows` rows, row by row, each in the middle of a cell as large as the largest."""
    rows = min(rows, len(images))
    columns = math.ceil(len(images) / rows)
    width, height = cell_size(images)
    sheet = Image.new("RGB", (columns * width, rows * height), style.background)
    for index, image in enumerate(images):
        left = index % columns * width + (width - image.width) // 2
        top = index // columns * height + (height - image.height) // 2
        sheet.paste(image, (left, top))
    return sheet


def cell_size(images: Sequence[Image.Image]) -> tuple[int, int]:
    """Width and height of a grid's cell."""
    return max(image.width for image in images), max(image.height for image in images)


def labelled(
    sheet: Image.Image,
    cell: tuple[int, int],
    columns: Labels,
    rows: Labels,
    style: Style,
    margin: int = 0,
) -> Image.Image:
    """A grid with labels above its columns and left of its rows, and `margin` between its cells.

    `cell` is the size of a cell of `sheet`. Lines are broken to fit, words too long made smaller.
    """
    width, height = cell
    text = _Text(max((width + height) // 25, 1), style)
    left = width * 3 // 4 if any(label.text for each in rows for label in each) else 0
    above = [text.wrapped(each, width) for each in columns]
    beside = [text.wrapped(each, left) for each in rows]
    gap = text.gap
    heights = [sum(line.height + gap for line in lines) - gap for lines in above]
    top = max(heights) + 2 * gap if sum(heights) else 0
    size = (
        sheet.width + left + margin * (len(columns) - 1),
        sheet.height + top + margin * (len(rows) - 1),
    )
    result = Image.new("RGB", size, style.background)
    for row in range(len(rows)):
        for column in range(len(columns)):
            x, y = width * column, height * row
            part = sheet.crop((x, y, x + width, y + height))
            result.paste(part, (left + x + margin * column, top + y + margin * row))
    draw = ImageDraw.Draw(result)
    for column, lines in enumerate(above):
        middle = left + (width + margin) * column + width / 2
        text.draw(draw, middle, top / 2 - heights[column] / 2, lines)
    for row, lines in enumerate(beside):
        middle = top + (height + margin) * row + height / 2
        text.draw(draw, left / 2, middle - sum(line.height for line in lines) / 2, lines)
    return result


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    active: bool
    width: int
    height: int
    font: ImageFont.FreeTypeFont


class _Text:
    """Labels in one size of type."""

    def __init__(self, size: int, style: Style) -> None:
        self._size = size
        self._style = style
        self._fonts: dict[int, ImageFont.FreeTypeFont] = {}
        self.gap = size // 2

    def _font(self, size: int) -> ImageFont.FreeTypeFont:
        if size not in self._fonts:
            with as_file(files(__package__) / "fonts" / "Roboto-Regular.ttf") as path:
                self._fonts[size] = ImageFont.truetype(path, size)
        return self._fonts[size]

    def wrapped(self, labels: Sequence[Label], room: int) -> list[_Line]:
        """Labels as lines that are at most `room` pixels wide where words allow it."""
        return [
            self._line(part, label.active, room)
            for label in labels
            for part in self._parts(label.text[:_SHOWN], room)
        ]

    def _parts(self, text: str, room: int) -> list[str]:
        parts = [""]
        for word in text.split():
            longer = f"{parts[-1]} {word}".strip()
            if self._font(self._size).getlength(longer) <= room:
                parts[-1] = longer
            else:
                parts.append(word)
        return parts

    def _line(self, text: str, active: bool, room: int) -> _Line:
        size, font = self._size, self._font(self._size)
        left, top, right, bottom = font.getbbox(text) if text else (0, 0, 0, 0)
        while size > 1 and font.getbbox(text)[2] > room:
            size -= 1
            font = self._font(size)
        return _Line(text, active, int(right - left), int(bottom - top), font)

    def draw(self, draw: ImageDraw.ImageDraw, x: float, y: float, lines: Sequence[_Line]) -> None:
        """Lines below each other, centred on `x`, from `y` on."""
        for line in lines:
            color = self._style.active if line.active else self._style.inactive
            middle = (x, y + line.height / 2)
            draw.text(middle, line.text, font=line.font, fill=color, anchor="mm")
            if not line.active:
                reach, level = line.width // 2, int(y + line.height // 2)
                draw.line((int(x - reach), level, int(x + reach), level), fill=color, width=4)
            y += line.height + self.gap
