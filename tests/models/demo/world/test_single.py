"""One shape is drawn where, as large and in the colours that its captions say."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from models.demo.judge import silhouette
from models.demo.world import single
from models.demo.world.single import USUAL_RADIUS, Single, Subject, canonical, is_held_out
from models.demo.world.words import CHINESE, COLOURS, SHAPES

SUBJECT = Subject(shape="circle", foreground="red", background="blue")


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape not in ("ring", "moon")])
def test_the_shape_has_its_colour_and_the_corners_the_ground(shape: str) -> None:
    picture = canonical(replace(SUBJECT, shape=shape)).draw(128)
    assert picture.shape == (128, 128, 3)
    assert tuple(picture[64, 64]) == COLOURS["red"]
    assert {tuple(picture[y, x]) for y in (0, 127) for x in (0, 127)} == {COLOURS["blue"]}


@pytest.mark.parametrize("shape", ["ring", "moon"])
def test_a_hollow_shape_shows_the_ground_within(shape: str) -> None:
    picture = canonical(replace(SUBJECT, shape=shape)).draw(128)
    assert tuple(picture[64, 70]) == COLOURS["blue"]
    assert (picture == COLOURS["red"]).all(-1).mean() > 0.05


def test_the_same_seed_gives_the_same_pictures() -> None:
    first, second = Random(5), Random(5)
    for _ in range(5):
        assert np.array_equal(single.sample(first).draw(64), single.sample(second).draw(64))
    assert not np.array_equal(single.sample(Random(5)).draw(64), single.sample(Random(6)).draw(64))


def test_places_are_where_they_say() -> None:
    random = Random(2)
    seen: dict[str, list[tuple[float, float]]] = {}
    for _ in range(300):
        scene = single.sample(random)
        rows, columns = np.nonzero(silhouette(scene.draw(64)))
        seen.setdefault(scene.place, []).append((columns.mean() / 64, rows.mean() / 64))
    assert all(x < 0.35 for x, _ in seen["left"])
    assert all(x > 0.65 for x, _ in seen["right"])
    assert all(y < 0.35 for _, y in seen["top"])
    assert all(y > 0.65 for _, y in seen["bottom"])
    assert np.abs(np.mean(seen["center"], axis=0) - 0.5).max() < 0.03


def test_a_caption_names_no_colour_that_is_not_there() -> None:
    random = Random(0)
    captions = [canonical(SUBJECT).describe(random) for _ in range(500)]
    others = set(COLOURS) - {"red", "blue"}
    texts = {caption.text for caption in captions}
    assert len(texts) > 60
    for text in texts:
        assert not others & set(text.replace(",", " ").replace("(", " ").split())
        assert not any(CHINESE[other] in text for other in others)
    assert any("红色" in text and "蓝色" in text for text in texts)


def test_facts_are_what_the_words_say() -> None:
    random = Random(1)
    for _ in range(300):
        scene = single.sample(random)
        caption = scene.describe(random)
        words = caption.text.replace(",", " ").replace("(", " ").replace(":", " ")
        for fact in ("shape", "colour", "ground", "size"):
            if fact in caption.facts:
                word = caption.facts[fact]
                assert word in words.split() or CHINESE[word] in words
        said = caption.facts.get("ground")
        assert (said is None) == ("background" not in words and "背景" not in words)


def test_a_stressed_shape_is_as_much_larger_as_its_weight() -> None:
    random = Random(3)
    for radius in (0.13, 0.26, 0.39):
        scene = replace(canonical(SUBJECT), radius=radius)
        weights = {
            weight
            for _ in range(60)
            for words, weight in scene.describe(random).parts
            if "circle" in words
        }
        assert round(radius / USUAL_RADIUS, 2) in weights


def test_held_out_subjects_are_never_drawn_for_training() -> None:
    def held_out(scene: Single) -> bool:
        return is_held_out(scene.subject)

    random = Random(1)
    assert not any(held_out(single.sample(random)) for _ in range(500))
    assert all(held_out(single.sample(random, held_out=True)) for _ in range(50))
