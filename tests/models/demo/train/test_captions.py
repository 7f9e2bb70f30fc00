"""Token rows are framed as the server frames a prompt."""

from __future__ import annotations

from models.demo.train.captions import CaptionTokens


def test_words_are_between_bos_and_eos_to_the_end() -> None:
    row, empty = CaptionTokens()(["a red circle on a blue background", ""]).tolist()
    assert row[:9] == [49406, 320, 736, 7117, 525, 320, 1746, 5994, 49407]
    assert len(row) == 77
    assert set(row[8:]) == {49407}
    assert empty == [49406, *[49407] * 76]


def test_a_long_caption_is_cut_to_75_words() -> None:
    row = CaptionTokens()(["red " * 200])[0].tolist()
    assert row == [49406, *[736] * 75, 49407]
