"""The generator draws what its captions say, and the same thing for the same seed."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from models.demo.pictures import (
    COLOURS,
    SHAPES,
    Subject,
    canonical,
    caption,
    draw,
    full_caption,
    is_held_out,
    sample,
    subjects,
)

SUBJECT = Subject(shape="circle", foreground="red", background="blue")


def test_the_same_seed_gives_the_same_pictures() -> None:
    first, second = Random(5), Random(5)
    for _ in range(5):
        assert np.array_equal(draw(sample(first), 64), draw(sample(second), 64))
    assert not np.array_equal(draw(sample(Random(5)), 64), draw(sample(Random(6)), 64))


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape not in ("ring", "moon")])
def test_the_shape_has_its_colour_and_the_corners_the_ground(shape: str) -> None:
    picture = draw(canonical(Subject(shape=shape, foreground="red", background="blue")), 128)
    assert picture.shape == (128, 128, 3)
    assert tuple(picture[64, 64]) == COLOURS["red"]
    assert {tuple(picture[y, x]) for y in (0, 127) for x in (0, 127)} == {COLOURS["blue"]}


@pytest.mark.parametrize("shape", ["ring", "moon"])
def test_a_hollow_shape_shows_the_ground_within(shape: str) -> None:
    subject = Subject(shape=shape, foreground="red", background="blue")
    picture = draw(canonical(subject), 128)
    assert tuple(picture[64, 70]) == COLOURS["blue"]
    assert (picture == COLOURS["red"]).all(-1).mean() > 0.05


def test_the_four_wordings() -> None:
    assert [full_caption(SUBJECT, wording=wording) for wording in range(4)] == [
        "a red circle on a blue background",
        "a red circle, blue background",
        "red circle, blue background",
        "a red circle on blue background",
    ]
    orange = Subject(shape="star", foreground="orange", background="orange")
    assert full_caption(orange) == "an orange star on an orange background"


def test_a_caption_names_no_colour_that_is_not_there() -> None:
    random = Random(0)
    texts = {caption(SUBJECT, random) for _ in range(400)}
    others = set(COLOURS) - {"red", "blue"}
    assert len(texts) > 30
    assert not any(others & set(text.replace(",", " ").split()) for text in texts)
    assert all(any(word in text for word in ("circle", "blue background")) for text in texts)


def test_held_out_subjects_are_a_tenth_and_never_drawn_for_training() -> None:
    every = subjects()
    kept_back = [subject for subject in every if is_held_out(subject)]
    assert len(kept_back) == len(every) // 10
    assert {subject.shape for subject in kept_back} == set(SHAPES)
    random = Random(1)
    assert not any(is_held_out(sample(random).subject) for _ in range(500))
    assert all(is_held_out(sample(random, held_out=True).subject) for _ in range(50))
