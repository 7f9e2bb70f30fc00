"""A landscape's sky, land and thing are where they belong and in the colours that are said."""

from __future__ import annotations

from random import Random

import numpy as np

from models.demo.world import landscape
from models.demo.world.landscape import SKIES, THING_COLOURS


def test_nights_are_darker_than_days_and_sunsets_redder() -> None:
    random = Random(6)
    tops: dict[str, list[float]] = {}
    reds: dict[str, list[float]] = {}
    for _ in range(60):
        scene = landscape.sample(random)
        sky = scene.draw(64)[:30].astype(float)
        tops.setdefault(scene.time, []).append(float(np.median(sky)))
        reds.setdefault(scene.time, []).append(float(np.median(sky[..., 0] - sky[..., 2])))
    assert set(tops) == set(SKIES)
    assert max(tops["night"]) < min(tops["day"])
    assert min(reds["sunset"]) > max(reds["day"])


def test_captions_name_the_thing_and_only_houses_and_boats_have_colours() -> None:
    random = Random(7)
    for _ in range(200):
        scene = landscape.sample(random)
        caption = scene.describe(random)
        assert scene.thing in caption.text
        coloured = any(f"{colour} " in caption.text for colour in THING_COLOURS)
        if scene.thing in ("house", "boat"):
            assert f"{scene.colour} {scene.thing}" in caption.text
            assert caption.facts["colour"] == scene.colour
        elif "blue sky" not in caption.text:
            assert not coloured


def test_boats_are_on_the_sea_alone() -> None:
    random = Random(8)
    scenes = [landscape.sample(random) for _ in range(200)]
    assert {scene.land for scene in scenes if scene.thing == "boat"} == {"sea"}
    assert {scene.thing for scene in scenes if scene.land == "sea"} == {"boat", ""}
