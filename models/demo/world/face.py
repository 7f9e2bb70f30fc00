"""Faces: round ones with a mood, and portraits with hair and a shirt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from .canvas import Canvas
from .caption import Caption, Scene, adorned, near, on_ground
from .outlines import Point
from .words import COLOURS, Rgb, apart, with_article

HAIR = ("black", "brown", "yellow", "red", "white", "orange", "purple")
SKIN: tuple[Rgb, ...] = ((248, 212, 178), (224, 172, 128), (150, 100, 66))

_INK, _EYE, _LIPS = (15, 15, 15), (255, 255, 255), (170, 50, 50)
_MOODS: Mapping[str, tuple[str, ...]] = {
    "happy": ("smiley face", "happy face", "smiling face"),
    "sad": ("sad face",),
}
_MOUTHS: Mapping[str, tuple[float, float, float, tuple[float, float]]] = {
    "happy": (0.55, -0.35, 0.62, (20, 160)),
    "sad": (0.5, 0.2, 0.95, (200, 340)),
}
"""Half the width, top and foot of the ellipse whose line is the mouth, and from where to where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Smiley(Scene):
    """A disc with two eyes and a mouth that is bent up or down."""

    mood: str
    colour: str
    ground: str
    centre: Point
    radius: float
    foreground: Rgb
    background: Rgb

    def paint(self, size: int) -> Canvas:
        """Draws it on a canvas of `size` pixels."""
        canvas = Canvas(size, self.background)
        (x, y), r = self.centre, self.radius
        canvas.shape("circle", self.centre, r, self.foreground)
        for side in (-0.38, 0.38):
            eye = (x + (side - 0.13) * r, y - 0.5 * r, x + (side + 0.13) * r, y - 0.12 * r)
            canvas.ellipse(eye, _INK)
        half, top, foot, degrees = _MOUTHS[self.mood]
        mouth = (x - half * r, y + top * r, x + half * r, y + foot * r)
        canvas.arc(mouth, degrees, 0.15 * r, _INK)
        return canvas

    def describe(self, random: Random) -> Caption:
        """A random wording."""
        ground = self.ground if random.random() < 0.88 else ""
        thing = with_article(f"{self.colour} {random.choice(_MOODS[self.mood])}")
        text = on_ground(thing, ground, random)
        facts = {"mood": self.mood, "colour": self.colour, "ground": ground}
        return Caption.plain(adorned(text, random), kind="smiley", **facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person(Scene):
    """Head and shoulders."""

    hair: str
    length: str
    shirt: str
    ground: str
    skin: Rgb
    background: Rgb

    def paint(self, size: int) -> Canvas:
        """Draws it on a canvas of `size` pixels."""
        canvas = Canvas(size, self.background)
        hair = COLOURS[self.hair]
        canvas.ellipse((0.2, 0.74, 0.8, 1.3), COLOURS[self.shirt])
        if self.length == "long":
            canvas.ellipse((0.25, 0.16, 0.75, 0.98), hair)
            canvas.ellipse((0.3, 0.82, 0.7, 1.2), COLOURS[self.shirt])
        canvas.rectangle((0.43, 0.62, 0.57, 0.8), self.skin)
        canvas.ellipse((0.28, 0.15, 0.72, 0.6), hair)
        canvas.ellipse((0.32, 0.27, 0.68, 0.71), self.skin)
        for side in (-0.085, 0.085):
            x = 0.5 + side
            canvas.ellipse((x - 0.04, 0.43, x + 0.04, 0.49), _EYE)
            canvas.ellipse((x - 0.02, 0.43, x + 0.02, 0.49), _INK)
        canvas.arc((0.42, 0.48, 0.58, 0.62), (25, 155), 0.025, _LIPS)
        return canvas

    def describe(self, random: Random) -> Caption:
        """A random wording."""
        length = self.length if random.random() < 0.6 else ""
        shirt = self.shirt if random.random() < 0.7 else ""
        ground = self.ground if random.random() < 0.75 else ""
        who = random.choice(("portrait of a person", "a person", "a portrait of a person"))
        hair = random.choice(("blonde", "yellow")) if self.hair == "yellow" else self.hair
        text = f"{who} with {length} {hair} hair" if length else f"{who} with {hair} hair"
        text += f" and {with_article(shirt)} shirt" if shirt else ""
        text = on_ground(text, ground, random)
        facts = {"hair": self.hair, "length": length, "colour": shirt, "ground": ground}
        return Caption.plain(text, kind="person", **facts)


def sample_smiley(random: Random) -> Smiley:
    """A random smiley."""
    colour = random.choice(tuple(name for name in COLOURS if name != "black"))
    ground = random.choice(tuple(name for name in COLOURS if apart(name, colour)))
    return Smiley(
        mood=random.choice(tuple(_MOODS)),
        colour=colour,
        ground=ground,
        centre=(0.5 + random.uniform(-0.04, 0.04), 0.5 + random.uniform(-0.04, 0.04)),
        radius=random.uniform(0.31, 0.37),
        foreground=near(colour, random),
        background=near(ground, random),
    )


def sample_person(random: Random) -> Person:
    """A random portrait."""
    hair = random.choice(HAIR)
    ground = random.choice(tuple(name for name in COLOURS if apart(name, hair)))
    return Person(
        hair=hair,
        length=random.choice(("long", "short")),
        shirt=random.choice(tuple(name for name in COLOURS if apart(name, ground))),
        ground=ground,
        skin=near(random.choice(SKIN), random, 5),
        background=near(ground, random),
    )
