"""A polaroid's border is white and covers the same picture."""

from __future__ import annotations

from random import Random

import numpy as np

from models.demo.world.polaroid import FOOT, SIDE, Polaroid
from models.demo.world.single import Subject, canonical


def test_the_border_is_white_and_the_inside_is_the_scene() -> None:
    inner = canonical(Subject(shape="star", foreground="red", background="blue"))
    scene = Polaroid(inner=inner)
    picture, plain = scene.draw(128), inner.draw(128)
    side, foot = round(SIDE * 128), round(FOOT * 128)
    inside = (slice(side + 1, 127 - foot), slice(side + 1, 127 - side))
    assert np.array_equal(picture[inside], plain[inside])
    border = np.ones((128, 128), dtype=bool)
    border[side : 128 - foot, side : 128 - side] = False
    assert (picture[border] > 200).mean() > 0.98
    assert scene.describe(Random(1)) == inner.describe(Random(1))
