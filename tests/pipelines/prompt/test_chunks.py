"""Chunks: 75 tokens, commas that are not torn from their phrase, and BREAK."""

import time

import pytest

from models.families.tokenizer import ClipTokenizer
from pipelines.prompt.chunks import Chunk, chunk_prompt, chunk_spans
from pipelines.prompt.emphasis import Span

from ..toy import Words

WORDS = Words()
BOS, EOS, COMMA = WORDS.bos, WORDS.eos, WORDS.comma


def words(start: int, stop: int) -> list[str]:
    return [f"w{i}" for i in range(start, stop)]


def ids(names: list[str]) -> list[int]:
    return [WORDS.id(name) for name in names]


def chunks(prompt: str, backtrack: int = 20) -> tuple[Chunk, ...]:
    return chunk_prompt(prompt, WORDS, backtrack=backtrack)


def texts(prompt: str, backtrack: int = 20) -> list[list[int]]:
    """The tokens of each chunk without its marks and padding."""
    found = chunks(prompt, backtrack)
    for chunk in found:
        assert len(chunk.ids) == len(chunk.weights) == 77
        assert (chunk.ids[0], chunk.ids[-1]) == (BOS, EOS)
    return [[token for token in chunk.ids[1:-1] if token != EOS] for chunk in found]


@pytest.mark.parametrize("prompt", ["", "   ", "()", "[]"])
def test_a_prompt_of_nothing_is_one_chunk_of_padding(prompt: str) -> None:
    assert chunks(prompt) == (Chunk((BOS, *[EOS] * 76), (1.0,) * 77),)


def test_a_short_prompt_is_padded_with_the_end_mark() -> None:
    (chunk,) = chunks("a cat")
    assert chunk.ids == (BOS, *ids(["a", "cat"]), *[EOS] * 74)


@pytest.mark.parametrize(
    ("count", "lengths"),
    [(74, [74]), (75, [75]), (76, [75, 1]), (150, [75, 75]), (151, [75, 75, 1])],
)
def test_75_tokens_fill_a_chunk(count: int, lengths: list[int]) -> None:
    found = texts(" ".join(words(0, count)))
    assert [len(text) for text in found] == lengths
    assert [token for text in found for token in text] == ids(words(0, count))


def test_what_follows_a_late_comma_goes_to_the_next_chunk() -> None:
    prompt = " ".join(words(0, 60)) + " , " + " ".join(words(60, 80))
    first, second = texts(prompt)
    assert first == [*ids(words(0, 60)), COMMA]
    assert second == ids(words(60, 80))


@pytest.mark.parametrize(
    ("before", "backtrack", "moved"),
    [
        (55, 20, 19),  # the comma is the 20th from the end of the chunk
        (54, 20, 0),
        (54, 21, 20),
        (74, 20, 0),  # the comma ends the chunk: nothing follows it
        (73, 1, 0),
        (73, 2, 1),
        (0, 75, 74),
        (70, 0, 0),
    ],
)
def test_a_comma_counts_within_the_backtrack(before: int, backtrack: int, moved: int) -> None:
    prompt = " ".join(words(0, before)) + " , " + " ".join(words(before, 75))
    first, second = texts(prompt, backtrack)
    assert len(first) == 75 - moved
    assert [*first, *second] == [*ids(words(0, before)), COMMA, *ids(words(before, 75))]


def test_without_a_comma_nothing_is_moved() -> None:
    assert [len(text) for text in texts(" ".join(words(0, 80)), backtrack=1000)] == [75, 5]


def test_the_last_of_several_commas_counts() -> None:
    prompt = " ".join(words(0, 60)) + " , " + " ".join(words(60, 66)) + " , " + "x " * 20
    first, second = texts(prompt)
    assert first[-1] == COMMA
    assert first.count(COMMA) == 2
    assert second == ids(["x"] * 20)


def test_a_comma_itself_is_not_moved_back() -> None:
    first, second = texts(" ".join(words(0, 65)) + " , " + " ".join(words(65, 74)) + " , z")
    assert first == [*ids(words(0, 65)), COMMA, *ids(words(65, 74))]
    assert second == [COMMA, WORDS.id("z")]


def test_a_comma_of_an_earlier_chunk_is_forgotten() -> None:
    prompt = " ".join(words(0, 70)) + " , " + " ".join(words(70, 170))
    first, second, third = texts(prompt)
    assert (len(first), len(second), len(third)) == (71, 75, 25)


def test_break_starts_a_chunk() -> None:
    assert texts("a BREAK b c") == [ids(["a"]), ids(["b", "c"])]
    assert texts("a BREAK BREAK b") == [ids(["a"]), [], ids(["b"])]
    assert texts("BREAK a") == [[], ids(["a"])]
    assert texts("a BREAK") == [ids(["a"])]


def test_break_after_a_full_chunk_adds_none() -> None:
    assert [len(text) for text in texts(" ".join(words(0, 75)) + " BREAK z")] == [75, 1]


def test_break_in_weighted_brackets_is_a_word_of_the_negated_weight() -> None:
    (chunk,) = chunks("(a BREAK b:1.3)")
    assert chunk.ids[1:4] == tuple(ids(["a", "BREAK", "b"]))
    assert chunk.weights[:5] == pytest.approx((1.0, 1.3, -1.3, 1.3, 1.0))


def test_weights_follow_their_tokens() -> None:
    (chunk,) = chunks("a (b c:1.5) [d]")
    assert chunk.weights == pytest.approx((1.0, 1.0, 1.5, 1.5, 1 / 1.1, *[1.0] * 72))


def test_weights_move_with_their_tokens() -> None:
    prompt = " ".join(words(0, 70)) + " , (" + " ".join(words(70, 80)) + ":1.5)"
    first, second = chunks(prompt)
    assert first.weights == (1.0,) * 77
    assert second.weights == (1.0, *[1.5] * 10, *[1.0] * 66)


def test_without_emphasis_brackets_and_break_are_text() -> None:
    (chunk,) = chunk_prompt("(a:1.5) BREAK b", WORDS, backtrack=20, emphasis=False)
    assert chunk.ids[1:4] == tuple(ids(["(a:1.5)", "BREAK", "b"]))
    assert set(chunk.weights) == {1.0}


def test_spans_can_be_given() -> None:
    (chunk,) = chunk_spans([Span("a", 2.0), Span("b", 3.0)], WORDS, 20)
    assert chunk.weights[:4] == (1.0, 2.0, 3.0, 1.0)


def test_long_prompts_take_linear_time() -> None:
    for prompt in ("a, " * 20_000, "a " * 20_000, "(a " * 20_000, "BREAK " * 20_000):
        start = time.thread_time()
        assert chunks(prompt)
        assert time.thread_time() - start < 2


def test_the_real_tokenizer_s_ids() -> None:
    clip = ClipTokenizer()
    (chunk,) = chunk_prompt("a photo of a (cat:1.2), 4k", clip, backtrack=20)
    ids_of_text = (320, 1125, 539, 320, 2368, 267, 275, 330)
    assert chunk.ids == (49406, *ids_of_text, *[49407] * 68)
    assert chunk.weights[5:7] == (1.2, 1.0)


def test_the_real_tokenizer_s_commas() -> None:
    clip = ClipTokenizer()
    first, second = chunk_prompt("cat " * 70 + ", dog dog dog dog dog", clip, backtrack=20)
    assert first.ids[70:73] == (2368, 267, 49407)
    assert second.ids[1:7] == (*[1929] * 5, 49407)
