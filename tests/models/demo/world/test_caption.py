"""Captions are typed as webui reads them."""

from __future__ import annotations

from random import Random

from models.demo.world.caption import Caption, near, on_ground, on_ground_in_chinese
from models.demo.world.words import COLOURS


def test_stress_is_written_in_brackets() -> None:
    caption = Caption(parts=(("a ", 1.0), ("red circle", 1.4), (", blue background", 1.0)))
    assert caption.text == "a (red circle:1.4), blue background"
    assert Caption.plain("a star", second_colour="red", colour="").facts == {"second colour": "red"}


def test_every_wording_names_the_ground() -> None:
    random = Random(0)
    english = {on_ground("a red star", "orange", random) for _ in range(200)}
    assert english == {
        "a red star on an orange background",
        "a red star on orange background",
        "a red star against an orange background",
        "a red star, orange background",
    }
    chinese = {on_ground_in_chinese("红色星形", "blue", random) for _ in range(200)}
    assert chinese == {"红色星形，蓝色背景", "蓝色背景上的红色星形", "红色星形, 蓝色背景"}


def test_a_colour_nearby_stays_a_colour() -> None:
    random = Random(1)
    drawn = [near("white", random, 10) for _ in range(100)]
    assert max(max(colour) for colour in drawn) == 255
    assert all(
        abs(a - b) <= 10 for one in drawn for a, b in zip(one, COLOURS["white"], strict=True)
    )
