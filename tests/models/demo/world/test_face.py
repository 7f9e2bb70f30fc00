"""Faces have the colours and the mood that are said."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np

from models.demo.judge import nearest_colours
from models.demo.world import face
from models.demo.world.words import COLOURS


def test_a_mouth_is_bent_as_the_mood_says() -> None:
    scene = replace(face.sample_smiley(Random(1)), colour="yellow", foreground=COLOURS["yellow"])
    scene = replace(scene, centre=(0.5, 0.5), radius=0.35)
    black = list(COLOURS).index("black")
    heights = {}
    for mood in ("happy", "sad"):
        names = nearest_colours(replace(scene, mood=mood).draw(128))[70:100]
        middle = np.nonzero(names[:, 64] == black)[0].mean()
        side = np.nonzero(names[:, 50] == black)[0].mean()
        heights[mood] = middle - side
    assert heights["happy"] > 2
    assert heights["sad"] < -2


def test_hair_shirt_and_ground_have_their_colours() -> None:
    random = Random(2)
    for _ in range(30):
        scene = face.sample_person(random)
        names = nearest_colours(scene.draw(128))
        colours = list(COLOURS)
        assert colours[names[24, 64]] == scene.hair
        assert colours[names[124, 64]] == scene.shirt
        assert colours[names[4, 4]] == scene.ground


def test_captions_say_the_colours() -> None:
    random = Random(3)
    for _ in range(100):
        person = face.sample_person(random)
        text = person.describe(random).text
        assert f"{person.hair} hair" in text or (person.hair == "yellow" and "blonde hair" in text)
        smiley = face.sample_smiley(random)
        assert f"{smiley.colour} " in smiley.describe(random).text
