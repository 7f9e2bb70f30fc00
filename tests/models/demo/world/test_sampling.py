"""The training shows every kind in its share, and what is held out never."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from models.demo.world import sampling
from models.demo.world.count import Count
from models.demo.world.single import Single, is_held_out
from models.demo.world.words import FACTS


def test_the_shares() -> None:
    assert sum(sampling.SHARES.values()) == pytest.approx(1)
    random = Random(0)
    kinds = Counter(type(sampling.sample(random)).__name__ for _ in range(2000))
    assert kinds["Single"] == pytest.approx(1000, abs=90)
    assert set(kinds) == {"Single", "Count", "Pair", "Landscape", "Smiley", "Person"}


def test_every_fact_is_stated_with_every_value() -> None:
    random = Random(1)
    stated: dict[str, set[str]] = {fact: set() for fact in FACTS}
    for _ in range(6000):
        for fact, value in sampling.sample(random).describe(random).facts.items():
            stated[fact].add(value)
    missing = {fact: set(FACTS[fact]) - values for fact, values in stated.items()}
    # Nobody has hair of these, and the ground of a scene has no name among the colours.
    assert {fact: values for fact, values in missing.items() if values} == {
        "hair": {"green", "blue", "pink", "cyan", "gray"}
    }


def test_held_out_scenes_are_held_out() -> None:
    random = Random(2)
    for _ in range(100):
        scene = sampling.sample_held_out(random)
        if isinstance(scene, Single | Count):
            assert is_held_out(scene.subject)
