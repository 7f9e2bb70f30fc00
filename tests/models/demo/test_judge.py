"""The judge passes real pictures and fails the same pictures under other captions."""

from __future__ import annotations

from random import Random

import numpy as np

from models.demo.judge import Score, Verdict, judge, questions
from models.demo.pictures import Scene, Subject, canonical, draw, is_held_out, sample

COUNT = 60


def scenes() -> list[Scene]:
    random = Random(11)
    return [sample(random, held_out=True) for _ in range(COUNT)]


def test_real_pictures_score_high() -> None:
    score = Score.of([judge(draw(scene, 128), scene.subject) for scene in scenes()])
    assert score.count == COUNT
    assert score.both >= 0.98
    assert score.shape >= 0.98


def test_shuffled_captions_score_low() -> None:
    drawn = scenes()
    others = drawn[7:] + drawn[:7]
    pairs = zip(drawn, others, strict=True)
    score = Score.of([judge(draw(scene, 128), other.subject) for scene, other in pairs])
    assert score.both <= 0.1
    assert score.foreground <= 0.3
    assert score.background <= 0.3
    assert score.shape <= 0.3


def test_each_part_is_judged_for_itself() -> None:
    shown = Subject(shape="star", foreground="yellow", background="black")
    picture = draw(canonical(shown), 128)
    asked = Subject(shape="star", foreground="yellow", background="purple")
    assert judge(picture, asked) == Verdict(foreground=True, background=False, shape=True)
    asked = Subject(shape="heart", foreground="cyan", background="black")
    assert judge(picture, asked) == Verdict(foreground=False, background=True, shape=False)


def test_an_empty_ground_has_no_foreground() -> None:
    plain = np.full((64, 64, 3), (36, 80, 215), dtype=np.uint8)
    subject = Subject(shape="circle", foreground="red", background="blue")
    assert judge(plain, subject) == Verdict(foreground=False, background=True, shape=False)


def test_the_questions_are_held_out_fixed_and_different() -> None:
    asked = questions()
    assert asked == questions()
    assert len({question.prompt for question in asked}) == len(asked) == 200
    assert all(is_held_out(question.subject) for question in asked)
    assert all(question.subject.shape in question.prompt for question in asked)
