"""Chunks: 75 tokens, commas that are not torn from their phrase, BREAK, and embeddings."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.embeddings.table import Embedding, EmbeddingTable
from models.families.tokenizer import ClipTokenizer
from pipelines.prompt.chunks import PLACEHOLDER, Chunk, chunk_prompt, chunk_spans, used_embeddings
from pipelines.prompt.emphasis import Span

from ...models.embeddings.made import WIDTH, embedding
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


def named(*embeddings: Embedding) -> EmbeddingTable:
    return EmbeddingTable(embeddings, (WIDTH,), WORDS.encode)


def with_embeddings(prompt: str, *embeddings: Embedding, backtrack: int = 20) -> tuple[Chunk, ...]:
    return chunk_prompt(prompt, WORDS, backtrack=backtrack, embeddings=named(*embeddings))


def placed(found: tuple[Chunk, ...]) -> list[list[tuple[int, str]]]:
    """Each chunk's embeddings: where, and their names."""
    return [[(each.position, each.embedding.name) for each in c.insertions] for c in found]


def test_an_embedding_takes_the_places_of_its_vectors() -> None:
    (chunk,) = with_embeddings("a emb b", embedding("emb", 3))
    assert chunk.ids[1:7] == (WORDS.id("a"), *[PLACEHOLDER] * 3, WORDS.id("b"), EOS)
    assert placed((chunk,)) == [[(2, "emb")]]
    assert set(chunk.weights) == {1.0}


def test_without_its_name_a_prompt_has_no_embedding() -> None:
    assert with_embeddings("a cat", embedding("emb", 3)) == chunks("a cat")


def test_a_weight_is_that_of_every_vector() -> None:
    (chunk,) = with_embeddings("a (emb:1.5) [emb]", embedding("emb", 2))
    assert chunk.weights[:7] == pytest.approx((1, 1, 1.5, 1.5, 1 / 1.1, 1 / 1.1, 1))
    assert placed((chunk,)) == [[(2, "emb"), (4, "emb")]]


def test_neighbours_stand_side_by_side() -> None:
    (chunk,) = with_embeddings("one one two", embedding("one", 2), embedding("two", 3))
    assert placed((chunk,)) == [[(1, "one"), (3, "one"), (5, "two")]]
    assert chunk.ids[:9] == (BOS, *[PLACEHOLDER] * 7, EOS)


def test_a_name_of_several_tokens_is_taken_whole_and_the_longest_first() -> None:
    short, long = embedding("red", 1), embedding("red cat", 2)
    (chunk,) = with_embeddings("red cat red dog", short, long)
    assert placed((chunk,)) == [[(1, "red cat"), (3, "red")]]
    assert chunk.ids[1:6] == (0, 0, 0, WORDS.id("dog"), EOS)


def test_a_name_is_not_read_across_a_change_of_weight() -> None:
    (chunk,) = with_embeddings("red (cat:1.5)", embedding("red cat", 2))
    assert placed((chunk,)) == [[]]


@pytest.mark.parametrize(
    ("before", "count", "lengths", "expected"),
    [
        (72, 3, [75, 1], [[(73, "emb")], []]),
        (73, 3, [73, 4], [[], [(1, "emb")]]),
        (75, 3, [75, 4], [[], [(1, "emb")]]),
        (74, 1, [75, 1], [[(75, "emb")], []]),
        (0, 75, [75, 1], [[(1, "emb")], []]),
        (1, 75, [1, 75, 1], [[], [(1, "emb")], []]),
    ],
)
def test_vectors_that_do_not_fit_begin_a_chunk(
    before: int, count: int, lengths: list[int], expected: list[list[tuple[int, str]]]
) -> None:
    prompt = " ".join([*words(0, before), "emb", "z"])
    found = with_embeddings(prompt, embedding("emb", count))
    assert placed(found) == expected
    assert [sum(token != EOS for token in chunk.ids) - 1 for chunk in found] == lengths


def test_a_late_comma_counts_before_an_embedding_too() -> None:
    prompt = " ".join(words(0, 70)) + " , " + " ".join([*words(70, 74), "emb"])
    first, second = with_embeddings(prompt, embedding("emb", 2))
    assert first.ids[1:73] == (*ids(words(0, 70)), COMMA, EOS)
    assert second.ids[1:8] == (*ids(words(70, 74)), 0, 0, EOS)
    assert placed((first, second)) == [[], [(5, "emb")]]


def test_only_the_placeholders_of_a_moved_embedding_move() -> None:
    """The reference forgets the vectors: they come out in the first chunk's padding."""
    prompt = " ".join(words(0, 70)) + " , (emb:1.5) " + " ".join(words(70, 73))
    first, second = with_embeddings(prompt, embedding("emb", 2))
    assert first.ids[71:] == (COMMA, *[EOS] * 5)
    assert second.ids[1:6] == (0, 0, *ids(words(70, 73)))
    assert second.weights[:5] == (1.0, 1.5, 1.5, 1.0, 1.0)
    assert placed((first, second)) == [[(72, "emb")], []]


def test_without_emphasis_embeddings_are_read_too() -> None:
    (chunk,) = chunk_prompt(
        "a emb", WORDS, backtrack=20, emphasis=False, embeddings=named(embedding("emb"))
    )
    assert placed((chunk,)) == [[(2, "emb")]]


EMBEDDINGS = {f"emb{count}": embedding(f"emb{count}", count) for count in (1, 2, 5, 40, 75)}
PIECES = st.sampled_from([*words(0, 5), *EMBEDDINGS, "BREAK"])
PHRASES = st.tuples(PIECES, st.integers(1, 30), st.sampled_from([1.0, 1.5]))


@given(st.lists(PHRASES, max_size=12))
def test_vectors_are_whole_in_order_and_of_their_span_s_weight(
    phrases: list[tuple[str, int, float]],
) -> None:
    spans = [
        Span(" ".join([word] * times), weight, breaks=word == "BREAK")
        for word, times, weight in phrases
    ]
    found = chunk_spans(spans, WORDS, 0, named(*EMBEDDINGS.values()))
    seen: list[tuple[str, float]] = []
    for chunk in found:
        assert len(chunk.ids) == len(chunk.weights) == 77
        starts = {each.position: each.embedding for each in chunk.insertions}
        place = 1
        while place < 76 and chunk.ids[place] != EOS:
            here = starts.pop(place, None)
            stop = place + (here.count if here else 1)
            assert stop <= 76
            assert len(set(chunk.weights[place:stop])) == 1
            assert not here or set(chunk.ids[place:stop]) == {PLACEHOLDER}
            seen.append((here.name if here else str(chunk.ids[place]), chunk.weights[place]))
            place = stop
        assert set(chunk.ids[place:]) == {EOS}
        assert starts == {}
    assert seen == [
        (word if word in EMBEDDINGS else str(WORDS.id(word)), weight)
        for word, times, weight in phrases
        if word != "BREAK"
        for _ in range(times)
    ]


def test_used_embeddings_come_in_the_order_of_encoding() -> None:
    one, two, three = embedding("one"), embedding("two"), embedding("three")
    table = (one, two, three)
    first = with_embeddings("two BREAK one two", *table)
    second = with_embeddings("three two", *table)
    assert used_embeddings([first, second]) == (two, three, one)
    assert used_embeddings([first]) == (two, one)
    assert used_embeddings([chunks("a")]) == used_embeddings([]) == ()


def test_many_embeddings_take_linear_time() -> None:
    table = named(*(embedding(f"e e{i}") for i in range(2000)))
    start = time.thread_time()
    assert chunk_prompt("e e1999 " * 10_000, WORDS, backtrack=20, embeddings=table)
    assert time.thread_time() - start < 10
