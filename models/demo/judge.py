"""Says whether a picture shows what its prompt asked for: both colours and the shape.

Free of torch, so that a running server can be judged from anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random

import numpy as np
from numpy.typing import NDArray

from .pictures import (
    COLOURS,
    SHAPES,
    Subject,
    canonical,
    draw,
    full_caption,
    is_held_out,
    subjects,
)

SMALLEST_SHAPE = 0.03
"""Share of the picture below which a second colour is a speck, not a shape."""

_FRAME = 0.06
_GRID = 48
_TEMPLATE_TURNS = (-0.12, -0.06, 0.0, 0.06, 0.12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A prompt and what a right picture shows."""

    prompt: str
    subject: Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is right in one picture."""

    foreground: bool
    background: bool
    shape: bool

    @property
    def both(self) -> bool:
        """Whether both colours are right."""
        return self.foreground and self.background


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Shares of right answers over a set of pictures, each in [0, 1]."""

    count: int
    foreground: float
    background: float
    both: float
    shape: float

    @classmethod
    def of(cls, verdicts: Sequence[Verdict]) -> Score:
        """The mean of at least one verdict."""
        count = len(verdicts)
        return cls(
            count=count,
            foreground=sum(v.foreground for v in verdicts) / count,
            background=sum(v.background for v in verdicts) / count,
            both=sum(v.both for v in verdicts) / count,
            shape=sum(v.shape for v in verdicts) / count,
        )


def questions(count: int = 200, seed: int = 2026) -> tuple[Question, ...]:
    """Held-out subjects in four wordings, mixed: the same ones for the same seed."""
    every = [
        Question(prompt=full_caption(subject, wording=wording), subject=subject)
        for subject in subjects()
        if is_held_out(subject)
        for wording in range(4)
    ]
    return tuple(Random(seed).sample(every, count))


def judge(picture: NDArray[np.uint8], subject: Subject) -> Verdict:
    """The verdict on a picture, uint8 [H, W, 3]."""
    colours = list(COLOURS)
    nearest = nearest_colours(picture)
    ground = _most_common(nearest[_frame_mask(nearest.shape)])
    inside = nearest[nearest != ground]
    front = _most_common(inside) if inside.size >= SMALLEST_SHAPE * nearest.size else None
    return Verdict(
        foreground=front is not None and colours[front] == subject.foreground,
        background=colours[ground] == subject.background,
        shape=front is not None and closest_shape(silhouette(picture)) == subject.shape,
    )


def nearest_colours(picture: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Index into `COLOURS` of the colour nearest to each pixel, [H, W]."""
    palette = np.array(list(COLOURS.values()), dtype=np.float32)
    offsets = picture[:, :, None, :].astype(np.float32) - palette
    return np.asarray(np.square(offsets).sum(-1).argmin(-1))


def silhouette(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels differ from the frame's colour, [H, W]; halfway to the farthest is the border.

    The farthest colour is taken at the 98th percentile, so that a few stray pixels do not set it.
    """
    pixels = picture.astype(np.float32)
    ground = np.median(pixels[_frame_mask(pixels.shape[:2])], axis=0)
    offset = np.linalg.norm(pixels - ground, axis=-1)
    return np.asarray(offset > np.percentile(offset, 98) / 2)


def closest_shape(mask: NDArray[np.bool_]) -> str:
    """The shape whose template overlaps the mask best, regardless of place and size."""
    normal = _normalised(mask)
    overlaps = {shape: max(_overlap(normal, t) for t in _templates(shape)) for shape in SHAPES}
    return max(overlaps, key=overlaps.__getitem__)


def _most_common(names: NDArray[np.intp]) -> int:
    return int(np.bincount(names, minlength=len(COLOURS)).argmax())


def _frame_mask(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    height, width = shape[:2]
    thick = max(1, round(_FRAME * min(height, width)))
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
    return tuple(_normalised(draw(one, 128)[:, :, 0] < 128) for one in turned)
