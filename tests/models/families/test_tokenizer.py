import os
from pathlib import Path

import pytest

from models.families.tokenizer import VOCABULARY, VOCABULARY_SIZE, ClipTokenizer

from ..files import REFERENCE

TEXTS = [
    "a red circle on a blue background",
    "1girl, masterpiece, (best quality:1.2)",
    "  Hello   WORLD\n\nnew\tline ",
    "it's don't we'll I'VE",
    "émigré café naïve ÀÉ e\u0301",
    "東京タワー 猫",
    "🎉🐱👩‍👩‍👧 emoji!!! ...",
    "a\u00a0b\u3000c \u200bzero\ufeffwidth",
    "<|endoftext|> hi <|startoftext|>x",
    "1234567 8x10 a_b-c/d\\e {[()]}<lora:x:1>",
    "x\x00y\x7fz \U0001f9ff",
    "",
    "   ",
]


@pytest.fixture(scope="module")
def tokenizer() -> ClipTokenizer:
    return ClipTokenizer()


def test_the_marks_and_the_size_are_clips(tokenizer: ClipTokenizer) -> None:
    assert (tokenizer.bos, tokenizer.eos, tokenizer.comma) == (49406, 49407, 267)
    assert len(tokenizer) == VOCABULARY_SIZE == 49408


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a red circle on a blue background", [320, 736, 7117, 525, 320, 1746, 5994]),
        ("A  Red\nCIRCLE", [320, 736, 7117]),
        ("astronaut", [18376]),
        ("", []),
    ],
)
def test_known_ids(tokenizer: ClipTokenizer, text: str, ids: list[int]) -> None:
    assert tokenizer.encode(text) == ids


def test_nothing_is_cut_off(tokenizer: ClipTokenizer) -> None:
    assert tokenizer.encode("red " * 500) == [736] * 500


def test_the_ids_are_those_of_transformers(
    tokenizer: ClipTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    from transformers import CLIPTokenizer  # noqa: PLC0415 - slow to import, used here alone

    theirs = CLIPTokenizer.from_pretrained(REFERENCE / "tiny-clip")
    for text in TEXTS:
        assert tokenizer.encode(text) == theirs(text, add_special_tokens=False).input_ids, text


def test_another_vocabulary_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "tokenizer.json"
    other.write_text(VOCABULARY.read_text(encoding="utf-8").replace(",</w>", ";;</w>"))
    with pytest.raises(ValueError, match=",</w>"):
        ClipTokenizer(other)
