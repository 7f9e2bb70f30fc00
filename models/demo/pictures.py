"""The demo's world: one coloured shape on a plain ground, drawn and described from the same value.

Free of torch, because the judge (`models.demo.evaluate`) shares it with the training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Point: TypeAlias = tuple[float, float]
Rgb: TypeAlias = tuple[int, int, int]

COLOURS: Mapping[str, Rgb] = {
    "red": (220, 38, 38),
    "green": (40, 160, 60),
    "blue": (36, 80, 215),
    "yellow": (246, 214, 40),
    "orange": (245, 135, 25),
    "purple": (140, 55, 190),
    "pink": (250, 150, 195),
    "cyan": (60, 205, 225),
    "white": (250, 250, 250),
    "black": (18, 18, 20),
    "gray": (128, 128, 130),
    "brown": (125, 75, 38),
}
SHAPES: tuple[str, ...] = (
    "circle",
    "square",
    "triangle",
    "star",
    "heart",
    "diamond",
    "hexagon",
    "ring",
    "cross",
    "moon",
)
NEAREST_PAIR = 75.0
"""Foreground and background are at least this far apart in RGB, so that a shape can be seen."""

_OVERSAMPLING = 2
_SCENE_WRAPPERS = (*["{}"] * 9, "a picture of {}", "a drawing of {}", "a photo of {}")
_TAILS = ("high quality", "simple", "masterpiece, best quality", "highly detailed", "flat colors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a caption may say: a shape, its colour, and the colour behind it."""

    shape: str
    foreground: str
    background: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One picture before it is drawn. Lengths are fractions of the side, the turn is in radians."""

    subject: Subject
    centre: Point
    radius: float
    turn: float
    foreground: Rgb
    background: Rgb


def distance(first: str, second: str) -> float:
    """Euclidean distance of two named colours in RGB."""
    return math.dist(COLOURS[first], COLOURS[second])


def subjects() -> tuple[Subject, ...]:
    """Every drawable subject, in a fixed order."""
    return tuple(
        Subject(shape=shape, foreground=foreground, background=background)
        for shape in SHAPES
        for foreground in COLOURS
        for background in COLOURS
        if distance(foreground, background) > NEAREST_PAIR
    )


def is_held_out(subject: Subject) -> bool:
    """Whether the subject is kept from the training (a tenth of all, spread over every word)."""
    names = list(COLOURS)
    place = (
        SHAPES.index(subject.shape) * 7
        + names.index(subject.foreground) * 3
        + names.index(subject.background) * 5
    )
    return place % 10 == 0


def sample(random: Random, *, held_out: bool = False) -> Scene:
    """A random scene whose subject is (or is not) among the held out ones."""
    names = list(COLOURS)
    while True:
        subject = Subject(
            shape=random.choice(SHAPES),
            foreground=random.choice(names),
            background=random.choice(names),
        )
        apart = distance(subject.foreground, subject.background) > NEAREST_PAIR
        if apart and is_held_out(subject) == held_out:
            break
    return Scene(
        subject=subject,
        centre=(0.5 + random.uniform(-0.09, 0.09), 0.5 + random.uniform(-0.09, 0.09)),
        radius=random.uniform(0.24, 0.36),
        turn=random.uniform(-0.12, 0.12),
        foreground=_jitter(random, COLOURS[subject.foreground]),
        background=_jitter(random, COLOURS[subject.background]),
    )


def canonical(subject: Subject) -> Scene:
    """The subject drawn plainly: centred, upright, in its exact colours."""
    return Scene(
        subject=subject,
        centre=(0.5, 0.5),
        radius=0.3,
        turn=0.0,
        foreground=COLOURS[subject.foreground],
        background=COLOURS[subject.background],
    )


def draw(scene: Scene, size: int) -> NDArray[np.uint8]:
    """The scene as an antialiased picture, uint8 [size, size, 3]."""
    side = size * _OVERSAMPLING
    image = Image.new("RGB", (side, side), scene.background)
    pencil = ImageDraw.Draw(image)
    x, y = (part * side for part in scene.centre)
    radius = scene.radius * side
    if scene.subject.shape == "circle":
        pencil.ellipse((x - radius, y - radius, x + radius, y + radius), fill=scene.foreground)
    elif scene.subject.shape == "ring":
        outer, width = radius * 1.1, max(2, round(radius * 0.4))
        box = (x - outer, y - outer, x + outer, y + outer)
        pencil.ellipse(box, outline=scene.foreground, width=width)
    else:
        outline = _OUTLINES[scene.subject.shape](scene.turn)
        points = [(x + radius * px, y + radius * py) for px, py in outline]
        pencil.polygon(points, fill=scene.foreground)
    return np.asarray(image.reduce(_OVERSAMPLING))


def full_caption(subject: Subject, *, wording: int = 0) -> str:
    """One of four wordings that name shape, foreground and background."""
    thing = with_article(f"{subject.foreground} {subject.shape}")
    ground = subject.background
    return (
        f"{thing} on {with_article(ground)} background",
        f"{thing}, {ground} background",
        f"{subject.foreground} {subject.shape}, {ground} background",
        f"{thing} on {ground} background",
    )[wording % 4]


def caption(subject: Subject, random: Random) -> str:
    """A random wording: mostly everything is named, sometimes only a part of it."""
    kind = random.random()
    if kind < 0.8:
        phrase = full_caption(subject, wording=random.choice((0, 0, 0, 0, 1, 1, 2, 3)))
    elif kind < 0.93:
        phrase = with_article(f"{subject.foreground} {subject.shape}")
    elif kind < 0.97:
        phrase = f"{subject.background} background"
    else:
        phrase = with_article(subject.shape)
    if random.random() < 0.05:
        phrase = phrase.removeprefix("an ").removeprefix("a ")
    phrase = random.choice(_SCENE_WRAPPERS).format(phrase)
    return f"{phrase}, {random.choice(_TAILS)}" if random.random() < 0.1 else phrase


def with_article(phrase: str) -> str:
    """The phrase after "a" or "an"."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _jitter(random: Random, colour: Rgb) -> Rgb:
    red, green, blue = (min(255, max(0, round(c + random.uniform(-7, 7)))) for c in colour)
    return red, green, blue


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
    back = np.linspace(math.pi * 0.3, math.pi * 1.7, 30)
    front = np.linspace(math.pi * 1.62, math.pi * 0.38, 30)
    points = [(1.1 * math.cos(a), 1.1 * math.sin(a)) for a in back]
    points += [(0.25 + 0.85 * math.cos(a), 0.85 * math.sin(a)) for a in front]
    return _rotated(points, turn)


_OUTLINES: Mapping[str, Callable[[float], list[Point]]] = {
    "square": lambda turn: _spokes((1.25,), 4, turn + math.pi / 4),
    "triangle": _triangle,
    "star": lambda turn: _spokes((1.25, 0.52), 10, turn - math.pi / 2),
    "heart": _heart,
    "diamond": _diamond,
    "hexagon": lambda turn: _spokes((1.1,), 6, turn),
    "cross": _cross,
    "moon": _moon,
}
"""Outlines in units of the radius, as functions of the turn."""
