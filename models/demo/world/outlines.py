"""The outlines of the shapes, as polygons in units of the radius."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

Point: TypeAlias = tuple[float, float]


def _spokes(radii: tuple[float, ...], count: int, turn: float) -> list[Point]:
    step = 2 * math.pi / count
    return [
        (
            radii[i % len(radii)] * math.cos(turn + step * i),
            radii[i % len(radii)] * math.sin(turn + step * i),
        )
        for i in range(count)
    ]


def _rotated(points: list[Point], turn: float) -> list[Point]:
    c, s = math.cos(turn), math.sin(turn)
    return [(c * x - s * y, s * x + c * y) for x, y in points]


def _triangle(turn: float) -> list[Point]:
    return [(x, y + 0.15) for x, y in _spokes((1.25,), 3, turn - math.pi / 2)]


def _diamond(turn: float) -> list[Point]:
    return _rotated([(0.0, -1.25), (0.8, 0.0), (0.0, 1.25), (-0.8, 0.0)], turn)


def _heart(turn: float) -> list[Point]:
    angles = [2 * math.pi * i / 48 for i in range(48)]
    return _rotated([(1.15 * math.sin(t) ** 3, _heart_height(t)) for t in angles], turn)


def _heart_height(t: float) -> float:
    wave = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
    return -1.15 * wave / 16


def _cross(turn: float) -> list[Point]:
    w, r = 0.38, 1.1
    corner = [(-w, -r), (w, -r), (w, -w), (r, -w), (r, w), (w, w), (w, r), (-w, r), (-w, w)]
    return _rotated([*corner, (-r, w), (-r, -w), (-w, -w)], turn)


def _moon(turn: float) -> list[Point]:
    def arc(first: float, last: float) -> list[float]:
        return [math.pi * (first + (last - first) * i / 29) for i in range(30)]

    points = [(1.1 * math.cos(a), 1.1 * math.sin(a)) for a in arc(0.3, 1.7)]
    points += [(0.25 + 0.85 * math.cos(a), 0.85 * math.sin(a)) for a in arc(1.62, 0.38)]
    return _rotated(points, turn)


OUTLINES: Mapping[str, Callable[[float], list[Point]]] = {
    "square": lambda turn: _spokes((1.25,), 4, turn + math.pi / 4),
    "triangle": _triangle,
    "star": lambda turn: _spokes((1.25, 0.52), 10, turn - math.pi / 2),
    "heart": _heart,
    "diamond": _diamond,
    "hexagon": lambda turn: _spokes((1.1,), 6, turn),
    "cross": _cross,
    "moon": _moon,
}
"""Functions of the turn in radians; circle and ring have no corners and are drawn as they are."""
