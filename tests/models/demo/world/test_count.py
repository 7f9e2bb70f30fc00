"""As many shapes are drawn as the caption says, none touching another."""

from __future__ import annotations

from random import Random

from models.demo.judge import judge
from models.demo.world import count
from models.demo.world.words import CHINESE, NUMBERS, plural


def test_the_number_drawn_is_the_number_said() -> None:
    random = Random(4)
    seen = set()
    for _ in range(60):
        scene = count.sample(random)
        verdict = judge(scene.draw(128), scene.subject, len(scene.centres))
        assert verdict.count and verdict.both
        caption = scene.describe(random)
        number = NUMBERS[len(scene.centres)]
        seen.add(number)
        assert caption.facts["count"] == number
        assert f"{number} " in caption.text or CHINESE[number] in caption.text
        shape = scene.subject.shape
        assert plural(shape) in caption.text or CHINESE[shape] in caption.text
    assert seen == set(NUMBERS.values())
