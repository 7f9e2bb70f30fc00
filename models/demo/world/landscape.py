"""A piece of land under a sky, by day, at sunset or at night, with something on it or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from .canvas import Canvas
from .caption import Caption, Scene, adorned, near
from .words import COLOURS, Rgb, with_article

SKIES: Mapping[str, tuple[Rgb, Rgb]] = {
    "day": ((90, 165, 240), (190, 225, 252)),
    "night": ((10, 14, 50), (28, 34, 92)),
    "sunset": ((90, 50, 130), (255, 150, 60)),
}
LANDS: Mapping[str, Rgb] = {
    "grass": (70, 165, 65),
    "sea": (25, 95, 170),
    "sand": (232, 200, 130),
    "snow": (236, 242, 250),
}
THING_COLOURS = ("red", "blue", "yellow", "white", "brown", "pink", "orange", "purple")

_LIGHT: Mapping[str, float] = {"day": 1.0, "night": 0.45, "sunset": 0.8}
_TIMES: Mapping[str, tuple[str, ...]] = {
    "day": ("under a blue sky", "by day", "with a blue sky"),
    "night": ("at night", "under a night sky"),
    "sunset": ("at sunset", "under a sunset sky"),
}
_PLACES: Mapping[str, tuple[str, ...]] = {
    "grass": ("on the grass", "on a green field"),
    "sea": ("on the sea", "in the sea"),
    "sand": ("on the sand", "on the beach", "in the desert"),
    "snow": ("in the snow", "on the snow"),
}
_VIEWS: Mapping[str, tuple[str, ...]] = {
    "grass": ("a green field", "grass"),
    "sea": ("the sea", "a sea"),
    "sand": ("a beach", "a desert", "sand"),
    "snow": ("snow", "a field of snow"),
}
_ROOF, _DARK_ROOF, _DOOR, _WINDOW = (120, 45, 35), (70, 60, 60), (90, 55, 30), (200, 230, 245)
_TRUNK, _LEAVES, _SAIL, _MAST = (110, 70, 35), (35, 125, 50), (245, 245, 240), (80, 50, 30)
_SUN, _LOW_SUN, _MOON, _LIT = (255, 220, 50), (255, 110, 40), (245, 243, 215), (255, 240, 150)
_ROCK, _PEAK = (110, 110, 125), (240, 245, 250)


@dataclass(frozen=True, slots=True, kw_only=True)
class Landscape(Scene):
    """`thing` is a house, a tree, a boat, mountains or nothing; lengths are fractions."""

    time: str
    land: str
    thing: str
    colour: str
    x: float
    horizon: float
    sun: float
    sky: tuple[Rgb, Rgb]
    ground: Rgb

    def paint(self, size: int) -> Canvas:
        """Draws it on a canvas of `size` pixels."""
        canvas = Canvas(size, self.ground)
        canvas.sky(*self.sky)
        self._light(canvas)
        if self.thing == "mountains":
            self._mountains(canvas)
        canvas.rectangle((0, self.horizon, 1, 1), self.ground)
        if self.thing == "house":
            self._house(canvas)
        elif self.thing == "tree":
            self._tree(canvas)
        elif self.thing == "boat":
            self._boat(canvas)
        return canvas

    def describe(self, random: Random) -> Caption:
        """A random wording that names the thing, its colour, the land and the time."""
        coloured = self.thing in ("house", "boat")
        colour = self.colour if coloured else ""
        time = self.time if random.random() < 0.88 else ""
        land = self.land if not self.thing or random.random() < 0.88 else ""
        if self.thing == "mountains":
            text = f"mountains and {random.choice(_VIEWS[self.land])}" if land else "mountains"
        elif self.thing:
            text = with_article(f"{colour} {self.thing}" if colour else self.thing)
            text += f" {random.choice(_PLACES[self.land])}" if land else ""
        else:
            text = random.choice(_VIEWS[self.land])
        text += f" {random.choice(_TIMES[self.time])}" if time else ""
        facts = {"time": time, "land": land, "thing": self.thing, "colour": colour}
        return Caption.plain(adorned(text, random), kind="landscape", **facts)

    def _lit(self, colour: Rgb) -> Rgb:
        return lit(colour, self.time)

    def _light(self, canvas: Canvas) -> None:
        if self.time == "day":
            canvas.shape("circle", (self.sun, 0.18), 0.1, _SUN)
        elif self.time == "night":
            canvas.shape("circle", (self.sun, 0.2), 0.09, _MOON)
        else:
            canvas.shape("circle", (self.sun, self.horizon - 0.02), 0.13, _LOW_SUN)

    def _mountains(self, canvas: Canvas) -> None:
        for x, height in ((self.x - 0.2, 0.34), (self.x + 0.22, 0.42)):
            top = self.horizon - height
            rock, snow = self._lit(_ROCK), self._lit(_PEAK)
            canvas.polygon([(x - 0.34, self.horizon), (x, top), (x + 0.34, self.horizon)], rock)
            foot = top + height * 0.3
            canvas.polygon([(x - 0.1, foot), (x, top), (x + 0.1, foot)], snow)

    def _house(self, canvas: Canvas) -> None:
        x, top, foot, half = self.x, self.horizon - 0.12, self.horizon + 0.16, 0.19
        roof = self._lit(_DARK_ROOF if self.colour in ("red", "brown") else _ROOF)
        canvas.rectangle((x - half, top, x + half, foot), self._lit(COLOURS[self.colour]))
        canvas.polygon([(x - half * 1.25, top), (x, top - 0.18), (x + half * 1.25, top)], roof)
        canvas.rectangle((x - 0.045, foot - 0.15, x + 0.045, foot), self._lit(_DOOR))
        window = _LIT if self.time == "night" else self._lit(_WINDOW)
        for side in (-0.12, 0.12):
            box = (x + side - 0.04, top + 0.04, x + side + 0.04, top + 0.12)
            canvas.rectangle(box, window)

    def _tree(self, canvas: Canvas) -> None:
        x, foot = self.x, self.horizon + 0.12
        canvas.rectangle((x - 0.035, foot - 0.2, x + 0.035, foot), self._lit(_TRUNK))
        canvas.ellipse((x - 0.15, foot - 0.48, x + 0.15, foot - 0.14), self._lit(_LEAVES))

    def _boat(self, canvas: Canvas) -> None:
        x, y = self.x, self.horizon + 0.13
        hull = [(x - 0.23, y), (x + 0.23, y), (x + 0.15, y + 0.11), (x - 0.15, y + 0.11)]
        canvas.polygon(hull, self._lit(COLOURS[self.colour]))
        canvas.polygon([(x, y - 0.34), (x, y - 0.03), (x + 0.19, y - 0.03)], self._lit(_SAIL))
        canvas.rectangle((x - 0.015, y - 0.34, x + 0.005, y), self._lit(_MAST))


def lit(colour: Rgb, time: str) -> Rgb:
    """A colour as it looks at a time of the day."""
    red, green, blue = (round(channel * _LIGHT[time]) for channel in colour)
    return red, green, blue


def sample(random: Random) -> Landscape:
    """A random one."""
    time, land = random.choice(tuple(SKIES)), random.choice(tuple(LANDS))
    on_land = ("house", "house", "tree", "mountains", "")
    thing = random.choice(("boat", "boat", "") if land == "sea" else on_land)
    top, bottom = SKIES[time]
    return Landscape(
        time=time,
        land=land,
        thing=thing,
        colour=random.choice(THING_COLOURS),
        x=random.uniform(0.38, 0.62),
        horizon=random.uniform(0.56, 0.64),
        sun=random.choice((random.uniform(0.14, 0.25), random.uniform(0.75, 0.86))),
        sky=(near(top, random, 5), near(bottom, random, 5)),
        ground=near(lit(LANDS[land], time), random, 5),
    )
