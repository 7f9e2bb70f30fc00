"""Captions: words, how strongly each part is stressed, and what they state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

import numpy as np
from numpy.typing import NDArray

from .canvas import Canvas
from .words import CHINESE, COLOURS, Rgb, with_article

CHINESE_SHARE = 0.22
"""Of the captions of shapes."""

_WRAPPERS = (*["{}"] * 9, "a picture of {}", "a drawing of {}", "an illustration of {}")
_TAILS = ("high quality", "simple", "masterpiece, best quality", "highly detailed", "flat colors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """A prompt in parts, each with its weight, and the `FACTS` that it states."""

    parts: tuple[tuple[str, float], ...]
    facts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def plain(cls, text: str, **facts: str) -> Caption:
        """Words without stress; underscores in the names of facts stand for spaces."""
        stated = {name.replace("_", " "): value for name, value in facts.items() if value}
        return cls(parts=((text, 1.0),), facts=stated)

    @property
    def text(self) -> str:
        """As one would type it, with webui's brackets around what is stressed."""
        return "".join(
            words if weight == 1 else f"({words}:{weight:g})" for words, weight in self.parts
        )


class Scene(ABC):
    """One picture before it is drawn."""

    __slots__ = ()

    @abstractmethod
    def paint(self, size: int) -> Canvas:
        """Draws it on a canvas of `size` pixels."""

    @abstractmethod
    def describe(self, random: Random) -> Caption:
        """A random wording, which may leave something out."""

    def draw(self, size: int) -> NDArray[np.uint8]:
        """The picture, antialiased, uint8 [size, size, 3]."""
        return self.paint(size).picture()


def adorned(phrase: str, random: Random) -> str:
    """The phrase as it is mostly, or with what people write before and after a prompt."""
    phrase = random.choice(_WRAPPERS).format(phrase)
    return f"{phrase}, {random.choice(_TAILS)}" if random.random() < 0.08 else phrase


def plainly(thing: str, ground: str) -> str:
    """A thing before a coloured background, in the plainest wording."""
    return f"{thing} on {with_article(ground)} background"


def on_ground(thing: str, ground: str, random: Random) -> str:
    """The same in one of several wordings; the thing alone where no ground is named."""
    if not ground:
        return thing
    wordings = (
        *[plainly(thing, ground)] * 5,
        f"{thing} on {ground} background",
        f"{thing} against {with_article(ground)} background",
        *[f"{thing}, {ground} background"] * 3,
    )
    return random.choice(wordings)


def on_ground_in_chinese(thing: str, ground: str, random: Random) -> str:
    """The same in Chinese."""
    if not ground:
        return thing
    name = CHINESE[ground]
    wordings = (f"{thing}，{name}背景", f"{name}背景上的{thing}", f"{thing}, {name}背景")
    return random.choice(wordings)


def near(colour: Rgb | str, random: Random, reach: float = 7) -> Rgb:
    """A colour that is hardly told from this one."""
    exact = COLOURS[colour] if isinstance(colour, str) else colour
    red, green, blue = (
        min(255, max(0, round(channel + random.uniform(-reach, reach)))) for channel in exact
    )
    return red, green, blue
