"""Two different shapes, one beside or above the other."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from .canvas import Canvas
from .caption import CHINESE_SHARE, Caption, Scene, adorned, near, on_ground, on_ground_in_chinese
from .outlines import Point
from .words import CHINESE, COLOURS, SHAPES, Rgb, apart, with_article


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One of the two."""

    shape: str
    colour: str
    centre: Point
    radius: float
    rgb: Rgb


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair(Scene):
    """The first piece is the left or the upper one."""

    relation: str
    first: Piece
    second: Piece
    ground: str
    background: Rgb

    def paint(self, size: int) -> Canvas:
        """Draws it on a canvas of `size` pixels."""
        canvas = Canvas(size, self.background)
        for piece in (self.first, self.second):
            canvas.shape(piece.shape, piece.centre, piece.radius, piece.rgb)
        return canvas

    def describe(self, random: Random) -> Caption:
        """A random wording; either piece may be named first."""
        ground = self.ground if random.random() < 0.88 else ""
        if random.random() < CHINESE_SHARE:
            text = on_ground_in_chinese(self._in_chinese(random), ground, random)
        else:
            text = adorned(on_ground(self._in_english(random), ground, random), random)
        return Caption.plain(
            text,
            kind="pair",
            shape=self.first.shape,
            colour=self.first.colour,
            second_shape=self.second.shape,
            second_colour=self.second.colour,
            relation=self.relation,
            ground=ground,
        )

    def _in_english(self, random: Random) -> str:
        a, b = (with_article(f"{p.colour} {p.shape}") for p in (self.first, self.second))
        if self.relation == "beside":
            wordings = (
                f"{a} to the left of {b}",
                f"{b} to the right of {a}",
                f"{a} on the left and {b} on the right",
                f"{a} left of {b}",
            )
        else:
            wordings = (
                f"{a} above {b}",
                f"{b} below {a}",
                f"{a} over {b}",
                f"{b} under {a}",
            )
        return random.choice(wordings)

    def _in_chinese(self, random: Random) -> str:
        a, b = (f"{CHINESE[p.colour]}{CHINESE[p.shape]}" for p in (self.first, self.second))
        near_side, far_side = ("left", "right") if self.relation == "beside" else ("top", "bottom")
        return random.choice((f"{a}在{b}的{CHINESE[near_side]}", f"{b}在{a}的{CHINESE[far_side]}"))


def sample(random: Random, *, held_out: bool = False) -> Pair:
    """A random one; an eighth, by the first colour and both shapes, is held out."""
    names = list(COLOURS)
    while True:
        ground, *colours = (random.choice(names) for _ in range(3))
        shapes = random.sample(SHAPES, 2)
        places = (names.index(colours[0]), SHAPES.index(shapes[1]), SHAPES.index(shapes[0]))
        kept = sum(places) % 8 == 0
        if kept == held_out and all(apart(colour, ground) for colour in colours):
            break
    relation = random.choice(("beside", "beside", "above"))
    low, high = random.uniform(0.25, 0.29), random.uniform(0.71, 0.75)
    radius = random.uniform(0.15, 0.19)
    centres = [(low, 0.5 + random.uniform(-0.03, 0.03)), (high, 0.5 + random.uniform(-0.03, 0.03))]
    if relation == "above":
        centres = [(y, x) for x, y in centres]
    first, second = (
        Piece(shape=shape, colour=colour, centre=centre, radius=radius, rgb=near(colour, random))
        for shape, colour, centre in zip(shapes, colours, centres, strict=True)
    )
    return Pair(
        relation=relation,
        first=first,
        second=second,
        ground=ground,
        background=near(ground, random),
    )
