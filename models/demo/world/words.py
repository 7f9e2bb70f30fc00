"""What the demo can be told: colours, shapes, and their names in English and Chinese."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

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
PLACES: Mapping[str, tuple[float, float]] = {
    "center": (0.5, 0.5),
    "left": (0.25, 0.5),
    "right": (0.75, 0.5),
    "top": (0.5, 0.25),
    "bottom": (0.5, 0.75),
}
"""Where a single shape stands, as fractions of the side from the left and from the top."""

NUMBERS: Mapping[int, str] = {2: "two", 3: "three", 4: "four"}

CHINESE: Mapping[str, str] = {
    "red": "红色",
    "green": "绿色",
    "blue": "蓝色",
    "yellow": "黄色",
    "orange": "橙色",
    "purple": "紫色",
    "pink": "粉色",
    "cyan": "青色",
    "white": "白色",
    "black": "黑色",
    "gray": "灰色",
    "brown": "棕色",
    "circle": "圆形",
    "square": "正方形",
    "triangle": "三角形",
    "star": "星形",
    "heart": "心形",
    "diamond": "菱形",
    "hexagon": "六边形",
    "ring": "圆环",
    "cross": "十字",
    "moon": "月亮",
    "center": "中间",
    "left": "左边",
    "right": "右边",
    "top": "上面",
    "bottom": "下面",
    "two": "两个",
    "three": "三个",
    "four": "四个",
    "small": "小",
    "big": "大",
}
NEAREST_PAIR = 75.0
"""Colours that touch are at least this far apart in RGB, so that a shape can be seen."""

FACTS: Mapping[str, tuple[str, ...]] = {
    "kind": ("single", "count", "pair", "landscape", "smiley", "person"),
    "shape": SHAPES,
    "colour": tuple(COLOURS),
    "ground": tuple(COLOURS),
    "place": tuple(PLACES),
    "size": ("small", "big"),
    "count": tuple(NUMBERS.values()),
    "second shape": SHAPES,
    "second colour": tuple(COLOURS),
    "relation": ("beside", "above"),
    "time": ("day", "night", "sunset"),
    "land": ("grass", "sea", "sand", "snow"),
    "thing": ("house", "tree", "boat", "mountains"),
    "mood": ("happy", "sad"),
    "hair": tuple(COLOURS),
    "length": ("long", "short"),
}
"""All that a caption may state, and the values each statement can have."""


def distance(first: str, second: str) -> float:
    """Euclidean distance of two named colours in RGB."""
    return math.dist(COLOURS[first], COLOURS[second])


def apart(first: str, second: str) -> bool:
    """Whether a shape of one colour can be seen on a ground of the other."""
    return distance(first, second) > NEAREST_PAIR


def with_article(phrase: str) -> str:
    """The phrase after "a" or "an"."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def plural(shape: str) -> str:
    """More than one of a shape."""
    return f"{shape}es" if shape.endswith("s") else f"{shape}s"
