"""Two, three or four of the same shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from .canvas import Canvas
from .caption import CHINESE_SHARE, Caption, Scene, adorned, near, on_ground, on_ground_in_chinese
from .outlines import Point
from .single import Subject, sample_subject
from .words import CHINESE, NUMBERS, Rgb, plural

_ROW_RADIUS, _RADIUS = 0.108, 0.155

_LAYOUTS: Mapping[int, tuple[tuple[Point, ...], ...]] = {
    2: (((0.27, 0.5), (0.73, 0.5)), ((0.5, 0.27), (0.5, 0.73))),
    3: (((0.18, 0.5), (0.5, 0.5), (0.82, 0.5)), ((0.5, 0.27), (0.27, 0.72), (0.73, 0.72))),
    4: (((0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73)),),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Count(Scene):
    """Equal shapes at several centres."""

    subject: Subject
    centres: tuple[Point, ...]
    radius: float
    turn: float
    foreground: Rgb
    background: Rgb

    def paint(self, size: int) -> Canvas:
        """Draws it on a canvas of `size` pixels."""
        canvas = Canvas(size, self.background)
        for centre in self.centres:
            canvas.shape(self.subject.shape, centre, self.radius, self.foreground, self.turn)
        return canvas

    def describe(self, random: Random) -> Caption:
        """A random wording that names number, shape and colour, and mostly the ground."""
        said = self.subject
        number = NUMBERS[len(self.centres)]
        ground = said.background if random.random() < 0.9 else ""
        if random.random() < CHINESE_SHARE:
            thing = f"{CHINESE[number]}{CHINESE[said.foreground]}{CHINESE[said.shape]}"
            text = on_ground_in_chinese(thing, ground, random)
        else:
            thing = f"{number} {said.foreground} {plural(said.shape)}"
            text = adorned(on_ground(thing, ground, random), random)
        facts = {"shape": said.shape, "colour": said.foreground, "ground": ground}
        return Caption.plain(text, kind="count", count=number, **facts)


def sample(random: Random, *, held_out: bool = False) -> Count:
    """A random one."""
    subject = sample_subject(random, held_out=held_out)
    layout = random.choice(_LAYOUTS[random.choice((2, 2, 3, 3, 4))])
    radius = (_ROW_RADIUS if layout[0][0] < 0.2 else _RADIUS) * random.uniform(0.92, 1.06)
    jitter = 0.015
    return Count(
        subject=subject,
        centres=tuple(
            (x + random.uniform(-jitter, jitter), y + random.uniform(-jitter, jitter))
            for x, y in layout
        ),
        radius=radius,
        turn=random.uniform(-0.06, 0.06),
        foreground=near(subject.foreground, random),
        background=near(subject.background, random),
    )
