"""The judge passes real pictures and fails the same pictures under other captions."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np

from models.demo.judge import (
    Score,
    Verdict,
    judge,
    pieces,
    questions,
    silhouette,
)
from models.demo.world import count, single
from models.demo.world.single import Single, Subject, canonical, is_held_out
from models.demo.world.words import CHINESE, NUMBERS

MANY = 60


def scenes() -> list[Single]:
    random = Random(11)
    return [single.sample(random, held_out=True) for _ in range(MANY)]


def test_real_pictures_score_high() -> None:
    score = Score.of([judge(scene.draw(128), scene.subject) for scene in scenes()])
    assert score.pictures == MANY
    assert min(score.both, score.shape, score.count) >= 0.98


def test_real_pictures_of_several_score_high() -> None:
    random = Random(12)
    drawn = [count.sample(random, held_out=True) for _ in range(MANY)]
    score = Score.of([judge(scene.draw(128), scene.subject, len(scene.centres)) for scene in drawn])
    assert min(score.both, score.count) >= 0.98
    assert score.shape >= 0.9
    wrong = [judge(scene.draw(128), scene.subject, len(scene.centres) + 1) for scene in drawn]
    assert Score.of(wrong).count == 0


def test_shuffled_captions_score_low() -> None:
    drawn = scenes()
    others = drawn[7:] + drawn[:7]
    pairs = zip(drawn, others, strict=True)
    score = Score.of([judge(scene.draw(128), other.subject) for scene, other in pairs])
    assert score.both <= 0.1
    assert score.foreground <= 0.3
    assert score.background <= 0.3
    assert score.shape <= 0.3


def test_each_part_is_judged_for_itself() -> None:
    shown = Subject(shape="star", foreground="yellow", background="black")
    picture = canonical(shown).draw(128)
    asked = Subject(shape="star", foreground="yellow", background="purple")
    assert judge(picture, asked) == Verdict(
        foreground=True, background=False, shape=True, count=True
    )
    asked = Subject(shape="heart", foreground="cyan", background="black")
    assert judge(picture, asked, 2) == Verdict(
        foreground=False, background=True, shape=False, count=False
    )


def test_an_empty_ground_has_no_foreground() -> None:
    plain = np.full((64, 64, 3), (36, 80, 215), dtype=np.uint8)
    subject = Subject(shape="circle", foreground="red", background="blue")
    assert judge(plain, subject) == Verdict(
        foreground=False, background=True, shape=False, count=False
    )


def test_specks_are_not_counted() -> None:
    subject = Subject(shape="circle", foreground="red", background="blue")
    picture = canonical(subject).draw(128).copy()
    picture[4:8, 4:8] = (220, 38, 38)
    assert len(pieces(silhouette(picture))) == 1
    picture[4:24, 4:24] = (220, 38, 38)
    assert len(pieces(silhouette(picture))) == 2


def test_the_questions_are_held_out_fixed_and_different() -> None:
    asked = questions()
    assert asked == questions()
    assert len({question.prompt for question in asked}) == len(asked) == 200
    assert all(is_held_out(question.subject) for question in asked)
    assert Counter(question.kind for question in asked) == {
        "English": 110,
        "Chinese": 40,
        "several": 50,
    }
    for question in asked:
        shape = question.subject.shape
        assert (CHINESE[shape] if question.kind == "Chinese" else shape) in question.prompt
        assert question.count == 1 or NUMBERS[question.count] in question.prompt
