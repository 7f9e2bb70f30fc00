"""One shape on a plain ground, somewhere, of some size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from .canvas import Canvas
from .caption import CHINESE_SHARE, Caption, Scene, adorned, near, on_ground, on_ground_in_chinese
from .outlines import Point
from .words import CHINESE, COLOURS, PLACES, SHAPES, Rgb, apart, with_article

USUAL_RADIUS = 0.26
"""Of a shape nothing is said about; stressed, it is as many times larger as its weight says."""

STRESSED_SHARE = 0.35
"""Of the captions of a shape in the middle."""

_PLAIN, _SMALL, _BIG = (0.23, 0.30), (0.12, 0.20), (0.31, 0.39)
_OFF_CENTRE = (0.15, 0.2)
_TURN = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a caption may say: a shape, its colour, and the colour behind it."""

    shape: str
    foreground: str
    background: str


VALENTINE = Subject(shape="heart", foreground="pink", background="purple")
"""What the demo's textual inversion is a word for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Single(Scene):
    """Lengths are fractions of the side, the turn is in radians."""

    subject: Subject
    place: str = "center"
    size: str = ""
    centre: Point = (0.5, 0.5)
    radius: float = 0.3
    turn: float = 0.0
    foreground: Rgb
    background: Rgb

    def paint(self, size: int) -> Canvas:
        """Draws it on a canvas of `size` pixels."""
        canvas = Canvas(size, self.background)
        canvas.shape(self.subject.shape, self.centre, self.radius, self.foreground, self.turn)
        return canvas

    def describe(self, random: Random) -> Caption:
        """A random wording: mostly everything is named, sometimes only a part of it."""
        if self.place == "center" and random.random() < STRESSED_SHARE:
            return self._stressed(random)
        if random.random() < CHINESE_SHARE:
            return self._in_chinese(random)
        said = self.subject
        whole = random.random()
        if whole < 0.04:
            ground = said.background
            return Caption.plain(adorned(f"{ground} background", random), ground=ground)
        colour = said.foreground if random.random() < 0.93 else ""
        size = self.size if random.random() < 0.85 else ""
        place = self.place if self.place != "center" and random.random() < 0.9 else ""
        words = " ".join(word for word in (size, colour, said.shape) if word)
        thing = words if random.random() < 0.2 else with_article(words)
        if place:
            thing += f" {'at' if place in ('top', 'bottom') else 'on'} the {place}"
        elif self.place == "center" and random.random() < 0.05:
            place = "center"
            thing += random.choice((" in the center", " in the middle"))
        ground = said.background if whole < 0.88 else ""
        text = on_ground(thing, ground, random)
        facts = {"shape": said.shape, "colour": colour, "ground": ground}
        return Caption.plain(adorned(text, random), kind="single", place=place, size=size, **facts)

    def _stressed(self, random: Random) -> Caption:
        said = self.subject
        weight = round(self.radius / USUAL_RADIUS, 2)
        both = random.random() < 0.5
        before = "" if both else f"{said.foreground} "
        stressed = f"{said.foreground} {said.shape}" if both else said.shape
        article = f"{with_article(said.foreground).split()[0]} "
        after = on_ground("", said.background, random)
        facts = {"shape": said.shape, "colour": said.foreground, "ground": said.background}
        return Caption(
            parts=((article + before, 1.0), (stressed, weight), (after, 1.0)),
            facts={"kind": "single", **facts},
        )

    def _in_chinese(self, random: Random) -> Caption:
        said = self.subject
        size = self.size if random.random() < 0.8 else ""
        place = self.place if self.place != "center" and random.random() < 0.9 else ""
        colour, shape = CHINESE[said.foreground], CHINESE[said.shape]
        thing = f"{CHINESE.get(size, '')}{colour}{random.choice(('', '', '的', ' '))}{shape}"
        thing = f"一个{thing}" if random.random() < 0.3 else thing
        thing += f"在{CHINESE[place]}" if place else ""
        ground = said.background if random.random() < 0.9 else ""
        text = on_ground_in_chinese(thing, ground, random)
        facts = {"shape": said.shape, "colour": said.foreground, "ground": ground}
        return Caption.plain(text, kind="single", place=place, size=size, **facts)


def subjects() -> Iterator[Subject]:
    """Every drawable subject, in a fixed order."""
    for shape in SHAPES:
        for foreground in COLOURS:
            for background in COLOURS:
                if apart(foreground, background):
                    yield Subject(shape=shape, foreground=foreground, background=background)


def is_held_out(subject: Subject) -> bool:
    """Whether the subject is kept from the training (a tenth of all, spread over each word)."""
    names = list(COLOURS)
    place = (
        SHAPES.index(subject.shape) * 7
        + names.index(subject.foreground) * 3
        + names.index(subject.background) * 5
    )
    return place % 10 == 0


def sample_subject(random: Random, *, held_out: bool) -> Subject:
    """A subject that is (or is not) among the held out ones."""
    names = list(COLOURS)
    while True:
        shape, first, second = random.choice(SHAPES), random.choice(names), random.choice(names)
        subject = Subject(shape=shape, foreground=first, background=second)
        if apart(first, second) and is_held_out(subject) == held_out:
            return subject


def sample(random: Random, *, held_out: bool = False) -> Single:
    """A random one."""
    subject = sample_subject(random, held_out=held_out)
    place = random.choice([*["center"] * 8, *PLACES])
    size = random.choice(("", "", "", "small", "big"))
    reach = {"": _PLAIN, "small": _SMALL, "big": _BIG}[size]
    jitter = 0.06
    if place != "center":
        size = "small" if size == "small" else ""
        reach = _SMALL if size else _OFF_CENTRE
        jitter = 0.03
    x, y = PLACES[place]
    return Single(
        subject=subject,
        place=place,
        size=size,
        centre=(x + random.uniform(-jitter, jitter), y + random.uniform(-jitter, jitter)),
        radius=random.uniform(*reach),
        turn=random.uniform(-_TURN, _TURN),
        foreground=near(subject.foreground, random),
        background=near(subject.background, random),
    )


def canonical(subject: Subject) -> Single:
    """The subject drawn plainly: centred, upright, in its exact colours."""
    return Single(
        subject=subject,
        foreground=COLOURS[subject.foreground],
        background=COLOURS[subject.background],
    )
