"""Random scenes of every kind, in fixed shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from . import count, face, landscape, pair, single
from .caption import Scene

SHARES: Mapping[Callable[[Random], Scene], float] = {
    single.sample: 0.50,
    count.sample: 0.17,
    pair.sample: 0.14,
    landscape.sample: 0.11,
    face.sample_smiley: 0.04,
    face.sample_person: 0.04,
}
"""Of the training's pictures; none of them is held out."""


def sample(random: Random) -> Scene:
    """One scene of the training."""
    (draw,) = random.choices(tuple(SHARES), tuple(SHARES.values()))
    return draw(random)


def sample_held_out(random: Random) -> Scene:
    """A scene of shapes whose combination no picture of the training shows."""
    draw = random.choice((single.sample, single.sample, count.sample, pair.sample))
    return draw(random, held_out=True)
