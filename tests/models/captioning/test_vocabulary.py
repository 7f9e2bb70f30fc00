"""Word pieces against transformers' own tokenizer, and damaged tables."""

import json
from pathlib import Path

import pytest

from models.captioning.vocabulary import read_vocabulary
from models.errors import CorruptCheckpoint

from .standins import VOCABULARY, tokenizer


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(VOCABULARY), "utf-8")
    return path


def test_words_come_out_as_transformers_writes_them(words: Path) -> None:
    theirs = tokenizer(words)
    theirs.save_pretrained(words.parent)
    ids = [*range(len(VOCABULARY)), 8, 14, 24, 5, 25, 8, 27]
    told = theirs.decode(ids, skip_special_tokens=True)
    assert "trees" in told
    for path in (words, words.parent / "tokenizer.json"):
        vocabulary = read_vocabulary(path)
        assert vocabulary.text(ids) == told
        assert vocabulary.ids(["a", "picture", "of"]) == theirs("a picture of").input_ids[1:-1]


def test_an_id_without_a_word_says_nothing(words: Path) -> None:
    assert read_vocabulary(words).text([8, 10_000, -1, 9]) == "dog cat"
    assert read_vocabulary(words).text([]) == ""


def test_a_word_that_is_not_there_is_named(words: Path) -> None:
    with pytest.raises(CorruptCheckpoint, match="the vocabulary lacks 'photograph'"):
        read_vocabulary(words).ids(["a", "photograph"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "no table"),
        ({"model": []}, "no table"),
        ({"model": {"vocab": [["a", 0.5]]}}, "no table"),
        ({"model": {"vocab": {"a": "b"}}}, "'a' is no whole number"),
        ({"model": {"vocab": {}}, "added_tokens": [3]}, "an added token"),
    ],
)
def test_a_damaged_tokenizer_is_named(tmp_path: Path, content: object, reason: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(CorruptCheckpoint, match=reason):
        read_vocabulary(path)


def test_an_empty_list_of_words_is_none(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.touch()
    with pytest.raises(CorruptCheckpoint, match="empty"):
        read_vocabulary(path)
