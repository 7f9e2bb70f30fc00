"""A canvas with the side as its unit, drawn larger than asked for and then averaged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .outlines import OUTLINES, Point
from .words import Rgb

Box = tuple[float, float, float, float]

_OVERSAMPLING = 2


class Canvas:
    """A square picture in the making. Lengths are fractions of its side, angles are in radians."""

    def __init__(self, size: int, ground: Rgb) -> None:
        self._side = size * _OVERSAMPLING
        self._image = Image.new("RGB", (self._side, self._side), ground)
        self._pencil = ImageDraw.Draw(self._image)

    def sky(self, top: Rgb, bottom: Rgb) -> None:
        """Fills everything with one colour that turns into another from top to bottom."""
        share = np.linspace(0, 1, self._side)[:, None, None]
        rows = np.array(top) * (1 - share) + np.array(bottom) * share
        filled = np.broadcast_to(rows, (self._side, self._side, 3)).round().astype(np.uint8)
        self._image.paste(Image.fromarray(filled))

    def shape(self, name: str, centre: Point, radius: float, colour: Rgb, turn: float = 0) -> None:
        """One of the named shapes."""
        x, y = centre
        if name == "circle":
            self.ellipse((x - radius, y - radius, x + radius, y + radius), colour)
        elif name == "ring":
            outer = radius * 1.1
            box = (x - outer, y - outer, x + outer, y + outer)
            width = max(2, round(radius * 0.4 * self._side))
            self._pencil.ellipse(self._scaled(box), outline=colour, width=width)
        else:
            outline = OUTLINES[name](turn)
            self.polygon([(x + radius * px, y + radius * py) for px, py in outline], colour)

    def polygon(self, points: Sequence[Point], colour: Rgb) -> None:
        """A filled polygon."""
        scaled = [(x * self._side, y * self._side) for x, y in points]
        self._pencil.polygon(scaled, fill=colour)

    def ellipse(self, box: Box, colour: Rgb) -> None:
        """A filled ellipse between two corners."""
        self._pencil.ellipse(self._scaled(box), fill=colour)

    def rectangle(self, box: Box, colour: Rgb) -> None:
        """A filled rectangle between two corners."""
        self._pencil.rectangle(self._scaled(box), fill=colour)

    def arc(self, box: Box, degrees: tuple[float, float], width: float, colour: Rgb) -> None:
        """Part of an ellipse's line, clockwise from the right."""
        thick = max(2, round(width * self._side))
        self._pencil.arc(self._scaled(box), *degrees, fill=colour, width=thick)

    def picture(self) -> NDArray[np.uint8]:
        """What was drawn, antialiased, uint8 [size, size, 3]."""
        return np.asarray(self._image.reduce(_OVERSAMPLING))

    def _scaled(self, box: Box) -> Box:
        left, top, right, bottom = box
        return left * self._side, top * self._side, right * self._side, bottom * self._side
