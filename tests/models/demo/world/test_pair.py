"""Two shapes stand to each other as the caption says, whichever is named first."""

from __future__ import annotations

from random import Random

import numpy as np

from models.demo.judge import nearest_colours
from models.demo.world import pair
from models.demo.world.words import COLOURS


def centre(scene: pair.Pair, piece: pair.Piece) -> tuple[float, float]:
    """Row and column of the middle of a piece's pixels."""
    names = nearest_colours(scene.draw(128))
    rows, columns = np.nonzero(names == list(COLOURS).index(piece.colour))
    return float(rows.mean()), float(columns.mean())


def test_the_first_is_left_of_or_above_the_second() -> None:
    random = Random(8)
    seen = set()
    for _ in range(40):
        scene = pair.sample(random)
        if scene.first.colour == scene.second.colour:
            continue
        (row, column), (other_row, other_column) = (
            centre(scene, piece) for piece in (scene.first, scene.second)
        )
        seen.add(scene.relation)
        if scene.relation == "beside":
            assert column < other_column - 30
        else:
            assert row < other_row - 30
    assert seen == {"beside", "above"}


def test_wordings_agree_with_the_picture() -> None:
    random = Random(9)
    for _ in range(200):
        scene = pair.sample(random)
        text = scene.describe(random).text
        first, second = (
            text.find(f"{piece.colour} {piece.shape}") for piece in (scene.first, scene.second)
        )
        if first < 0 or second < 0:
            continue
        reversed_words = ("to the right of", "below", "under")
        assert (first > second) == any(f" {words} " in text for words in reversed_words), text
