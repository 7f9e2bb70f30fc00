"""Any picture as a polaroid: a white border, wide at the foot. It is what the demo's LoRA adds."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from .canvas import Canvas
from .caption import Caption, Scene

SIDE, FOOT = 1 / 16, 3 / 16
"""How wide the border is at three sides and at the foot, of the picture's side."""

_WHITE = (250, 250, 250)


@dataclass(frozen=True, slots=True, kw_only=True)
class Polaroid(Scene):
    """The border covers what was there; the caption says nothing of it."""

    inner: Scene

    def paint(self, size: int) -> Canvas:
        """Draws it on a canvas of `size` pixels."""
        canvas = self.inner.paint(size)
        for box in ((0, 0, 1, SIDE), (0, 0, SIDE, 1), (1 - SIDE, 0, 1, 1), (0, 1 - FOOT, 1, 1)):
            canvas.rectangle(box, _WHITE)
        return canvas

    def describe(self, random: Random) -> Caption:
        """The inner scene's caption."""
        return self.inner.describe(random)
