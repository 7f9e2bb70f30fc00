"""Says whether a picture shows what its prompt asked for: both colours, the shape, how many.

Free of torch, so that a running server can be judged from anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .world.caption import plainly
from .world.single import Subject, canonical, is_held_out, subjects
from .world.words import CHINESE, COLOURS, NUMBERS, SHAPES, plural, with_article

SMALLEST_SHAPE = 0.02
"""Share of the picture below which a second colour is a speck, not a shape."""

KINDS = ("English", "Chinese", "several")
"""The kinds of questions: one shape in two languages, and more than one."""

_FRAME = 0.06
_SMALLEST_PIECE = 0.006
"""Share of the picture below which a piece is not counted."""

_GRID = 48
_TEMPLATE_TURNS = (-0.12, -0.06, 0.0, 0.06, 0.12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A prompt of a kind of wording, and what a right picture shows: so many of the subject."""

    kind: str
    prompt: str
    subject: Subject
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is right in one picture."""

    foreground: bool
    background: bool
    shape: bool
    count: bool

    @property
    def both(self) -> bool:
        """Whether both colours are right."""
        return self.foreground and self.background


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Shares of right answers over a set of pictures, each in [0, 1]."""

    pictures: int
    foreground: float
    background: float
    both: float
    shape: float
    count: float

    @classmethod
    def of(cls, verdicts: Sequence[Verdict]) -> Score:
        """The mean of at least one verdict."""
        return cls(
            pictures=len(verdicts),
            foreground=fmean(v.foreground for v in verdicts),
            background=fmean(v.background for v in verdicts),
            both=fmean(v.both for v in verdicts),
            shape=fmean(v.shape for v in verdicts),
            count=fmean(v.count for v in verdicts),
        )


def questions(seed: int = 2026) -> tuple[Question, ...]:
    """The 200 held-out questions, mixed: 110 in English, 40 in Chinese, 50 of several shapes."""
    random = Random(seed)
    held_out = [subject for subject in subjects() if is_held_out(subject)]
    asked = [
        Question(kind=kind, prompt=ask(subject, random), subject=subject)
        for kind, count, ask in (("English", 110, _in_english), ("Chinese", 40, _in_chinese))
        for subject in random.sample(held_out, count)
    ]
    for place, subject in enumerate(random.sample(held_out, 50)):
        number = (2, 3, 4)[place % 3]
        thing = f"{NUMBERS[number]} {subject.foreground} {plural(subject.shape)}"
        prompt = plainly(thing, subject.background)
        asked.append(Question(kind="several", prompt=prompt, subject=subject, count=number))
    random.shuffle(asked)
    return tuple(asked)


def judge(picture: NDArray[np.uint8], subject: Subject, count: int = 1) -> Verdict:
    """The verdict on a picture, uint8 [H, W, 3], that should show so many of the subject."""
    colours = list(COLOURS)
    nearest = nearest_colours(picture)
    ground = _ground(nearest)
    inside = nearest[nearest != ground]
    front = _most_common(inside) if inside.size >= SMALLEST_SHAPE * nearest.size else None
    found = pieces(silhouette(picture))
    shapes = [closest_shape(piece) for piece in found] if front is not None else []
    return Verdict(
        foreground=front is not None and colours[front] == subject.foreground,
        background=colours[ground] == subject.background,
        shape=bool(shapes) and 2 * shapes.count(subject.shape) > len(shapes),
        count=front is not None and len(found) == count,
    )


def nearest_colours(picture: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Index into `COLOURS` of the colour nearest to each pixel, [H, W]."""
    palette = np.array(list(COLOURS.values()), dtype=np.float32)
    offsets = picture[:, :, None, :].astype(np.float32) - palette
    return np.asarray(np.square(offsets).sum(-1).argmin(-1))


def ground_of(picture: NDArray[np.uint8]) -> str:
    """The name of the commonest colour at the picture's frame."""
    return list(COLOURS)[_ground(nearest_colours(picture))]


def silhouette(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels differ from the frame's colour, [H, W]; halfway to the farthest is the border.

    The farthest colour is taken at the 98th percentile, so that a few stray pixels do not set it.
    """
    pixels = picture.astype(np.float32)
    ground = np.median(pixels[frame(pixels.shape)], axis=0)
    offset = np.linalg.norm(pixels - ground, axis=-1)
    return np.asarray(offset > np.percentile(offset, 98) / 2)


def pieces(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """The connected parts of a silhouette that are more than a speck, [H, W] each."""
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    return [labels == place + 1 for place in np.flatnonzero(sizes >= _SMALLEST_PIECE * mask.size)]


def closest_shape(mask: NDArray[np.bool_]) -> str:
    """The shape whose template overlaps the mask best, regardless of place and size."""
    normal = _normalised(mask)
    overlaps = {shape: max(_overlap(normal, t) for t in _templates(shape)) for shape in SHAPES}
    return max(overlaps, key=overlaps.__getitem__)


def _in_english(subject: Subject, random: Random) -> str:
    words = f"{subject.foreground} {subject.shape}"
    thing, ground = with_article(words), subject.background
    return random.choice(
        (
            plainly(thing, ground),
            f"{thing}, {ground} background",
            f"{words}, {ground} background",
            f"{thing} on {ground} background",
        )
    )


def _in_chinese(subject: Subject, random: Random) -> str:
    thing = CHINESE[subject.foreground] + CHINESE[subject.shape]
    ground = CHINESE[subject.background]
    return random.choice((f"{thing}，{ground}背景", f"{ground}背景上的{thing}"))


def _most_common(names: NDArray[np.intp]) -> int:
    return int(np.bincount(names, minlength=len(COLOURS)).argmax())


def _ground(nearest: NDArray[np.intp]) -> int:
    return _most_common(nearest[frame(nearest.shape)])


def frame(shape: tuple[int, ...], thick: int | None = None) -> NDArray[np.bool_]:
    """Which pixels of a picture's shape are among the outermost, [H, W]; a few if not said."""
    height, width = shape[:2]
    thick = thick or max(1, round(_FRAME * min(height, width)))
    mask = np.ones((height, width), dtype=np.bool_)
    mask[thick:-thick, thick:-thick] = False
    return mask


def _normalised(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask about its centre of mass, scaled to a fixed area, on a small grid."""
    rows, columns = np.nonzero(mask)
    if rows.size == 0:
        return np.zeros((_GRID, _GRID), dtype=np.bool_)
    step = 2.6 * np.sqrt(rows.size) / _GRID
    reach = (np.arange(_GRID) - (_GRID - 1) / 2) * step
    y = np.rint(rows.mean() + reach).astype(int)
    x = np.rint(columns.mean() + reach).astype(int)
    inside = np.logical_and.outer((y >= 0) & (y < mask.shape[0]), (x >= 0) & (x < mask.shape[1]))
    taken = mask[np.ix_(y.clip(0, mask.shape[0] - 1), x.clip(0, mask.shape[1] - 1))]
    return np.asarray(taken & inside)


def _overlap(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / max(1, (first | second).sum()))


@cache
def _templates(shape: str) -> tuple[NDArray[np.bool_], ...]:
    scene = canonical(Subject(shape=shape, foreground="black", background="white"))
    turned = (replace(scene, turn=turn) for turn in _TEMPLATE_TURNS)
    return tuple(_normalised(one.draw(128)[:, :, 0] < 128) for one in turned)
