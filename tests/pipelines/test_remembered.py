"""Which conditionings are kept, and what makes two of them different."""

from dataclasses import replace

import torch

from pipelines.plan import Encoding
from pipelines.prompt.chunks import chunk_prompt
from pipelines.remembered import Remembered
from pipelines.steps import Conditioning, Encode

from .toy import Words


def wanted(text: str) -> Encode:
    words = Words()
    (empty,) = chunk_prompt("", words, backtrack=20)
    return Encode((chunk_prompt(text, words, backtrack=20),), empty, Encoding())


def told(number: float = 1.0, vector: bool = False) -> Conditioning:
    return Conditioning(torch.full((1, 77, 4), number), torch.ones(1, 8) if vector else None)


def test_what_was_asked_for_is_found_again() -> None:
    known, kept = Remembered(), told()
    known.keep("model", wanted("a (cat:1.2)"), kept)
    assert known.find("model", wanted("a (cat:1.2)")) is kept


def test_all_that_makes_a_conditioning_makes_a_difference() -> None:
    known, asked = Remembered(), wanted("a (cat:1.2)")
    known.keep("model", asked, told())
    others = [
        wanted("a (cat:1.3)"),
        wanted("a cat"),
        replace(asked, encoding=Encoding(clip_skip=2)),
        replace(asked, encoding=Encoding(emphasis="No norm")),
        replace(asked, numbers=(1.0,)),
        replace(asked, nothing=True),
        replace(asked, texts=asked.texts * 2),
    ]
    assert [known.find("model", each) for each in others] == [None] * len(others)
    assert known.find("other", asked) is None


def test_the_longest_unused_goes_first() -> None:
    size = told().context.nbytes
    known = Remembered(2 * size)
    for text in "ab":
        known.keep("model", wanted(text), told())
    assert known.find("model", wanted("a"))
    known.keep("model", wanted("c"), told())
    assert [bool(known.find("model", wanted(text))) for text in "abc"] == [True, False, True]


def test_vectors_count_and_what_is_too_large_is_not_kept() -> None:
    known = Remembered(told().context.nbytes)
    known.keep("model", wanted("a"), told(vector=True))
    assert known.find("model", wanted("a")) is None
    known.keep("model", wanted("a"), told())
    assert known.find("model", wanted("a"))


def test_all_can_be_forgotten() -> None:
    known = Remembered()
    known.keep("model", wanted("a"), told())
    known.forget()
    assert known.find("model", wanted("a")) is None
