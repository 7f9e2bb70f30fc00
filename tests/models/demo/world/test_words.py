"""Every word has its name in Chinese, and a tenth of the combinations is kept back."""

from __future__ import annotations

from models.demo.world.single import is_held_out, subjects
from models.demo.world.words import (
    CHINESE,
    COLOURS,
    FACTS,
    NUMBERS,
    PLACES,
    SHAPES,
    plural,
    with_article,
)


def test_colours_shapes_places_and_numbers_have_chinese_names_of_their_own() -> None:
    words = (*COLOURS, *SHAPES, *PLACES, *NUMBERS.values())
    names = [CHINESE[word] for word in words]
    assert len(set(names)) == len(names)
    assert all(not name.isascii() for name in names)


def test_articles_and_plurals() -> None:
    assert with_article("orange star") == "an orange star"
    assert with_article("red star") == "a red star"
    assert [plural(shape) for shape in ("cross", "moon")] == ["crosses", "moons"]


def test_a_tenth_is_held_out_and_touches_every_word() -> None:
    every = list(subjects())
    kept = [one for one in every if is_held_out(one)]
    assert len(kept) == len(every) // 10
    assert {one.shape for one in kept} == set(SHAPES)
    assert {one.foreground for one in kept} == set(COLOURS) == {one.background for one in kept}


def test_facts_have_no_value_twice() -> None:
    assert all(len(set(values)) == len(values) > 1 for values in FACTS.values())
