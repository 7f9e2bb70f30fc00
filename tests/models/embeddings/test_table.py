"""Embeddings are sorted by what fits, and found by the tokens of their names."""

import pytest

from models.embeddings.table import Embedding, EmbeddingTable, shelved
from models.families.tokenizer import ClipTokenizer

from .made import WIDTH, embedding

CLIP = ClipTokenizer()


def table(*embeddings: Embedding, widths: tuple[int, ...] = (WIDTH,)) -> EmbeddingTable:
    return EmbeddingTable(embeddings, widths, CLIP.encode)


def found(names: EmbeddingTable, text: str) -> list[tuple[str, int, int]]:
    """Every place of `text` where a name begins: the name, the place, and its tokens."""
    ids = CLIP.encode(text)
    matches = [(position, names.find(ids, position)) for position in range(len(ids))]
    return [(match[0].name, position, match[1]) for position, match in matches if match]


def test_what_fits_is_loaded_and_the_rest_skipped() -> None:
    small, wide, both = embedding("a", 2), embedding("b", 2, 768), embedding("c", 1, 768, 1280)
    tiny, sd1, sdxl = (table(small, wide, both, widths=w) for w in ((16,), (768,), (768, 1280)))
    assert (tiny.loaded, tiny.skipped) == ((small,), (wide, both))
    assert (sd1.loaded, sd1.skipped) == ((wide,), (small, both))
    assert (sdxl.loaded, sdxl.skipped) == ((both,), (small, wide))


@pytest.mark.parametrize(
    ("family", "widths"),
    [("sd1", (768,)), ("sd2", (1024,)), ("sdxl", (768, 1280)), ("refiner", (1280,))],
)
def test_each_family_takes_its_own(family: str, widths: tuple[int, ...]) -> None:
    every = {
        "sd1": embedding("sd1", 2, 768),
        "sd2": embedding("sd2", 2, 1024),
        "sdxl": embedding("sdxl", 2, 768, 1280),
        "refiner": embedding("refiner", 2, 1280),
    }
    found = shelved(every.values(), widths)
    assert [each.name for each in found.loaded] == [family]
    assert {each.name for each in found.skipped} == every.keys() - {family}


def test_more_vectors_than_a_chunk_has_room_for_do_not_fit() -> None:
    fits, does_not = embedding("a", 75), embedding("b", 76)
    names = table(fits, does_not)
    assert (names.loaded, names.skipped) == ((fits,), (does_not,))
    assert found(names, "a b") == [("a", 0, 1)]


def test_what_is_skipped_is_not_found() -> None:
    assert found(table(embedding("cat", 1, 768)), "a cat") == []


def test_a_name_is_found_anywhere_by_its_tokens() -> None:
    names = table(embedding("tinyemb"), embedding("bad-hands-5"))
    length = len(CLIP.encode("tinyemb"))
    assert length > 1
    assert found(names, "tinyemb") == [("tinyemb", 0, length)]
    assert found(names, "a photo,tinyemb.") == [("tinyemb", 3, length)]
    assert found(names, "TinyEmb") == [("tinyemb", 0, length)], "the tokenizer knows no case"
    assert found(names, "bad - hands 5") == [], "a space makes other tokens"
    five = len(CLIP.encode("bad-hands-5"))
    assert found(names, "x bad-hands-5 y bad-hands-5") == [
        ("bad-hands-5", 1, five),
        ("bad-hands-5", five + 2, five),
    ]


def test_a_name_is_no_part_of_a_longer_token() -> None:
    assert found(table(embedding("cat")), "caterpillar cats") == []


def test_a_name_cut_short_by_the_end_is_not_found() -> None:
    ids = CLIP.encode("tinyemb")
    assert table(embedding("tinyemb")).find(ids[:-1], 0) is None


@pytest.mark.parametrize("order", [1, -1])
def test_the_longest_name_wins(order: int) -> None:
    listed = [embedding("red"), embedding("red cat"), embedding("red cat house")][::order]
    names = table(*listed)
    assert found(names, "red dog red cat red cat house") == [
        ("red", 0, 1),
        ("red cat", 2, 2),
        ("red cat house", 4, 3),
    ]


def test_of_names_with_the_same_tokens_the_first_is_found() -> None:
    names = table(embedding("Foo"), embedding("foo"))
    assert found(names, "foo") == [("Foo", 0, 1)]
    assert len(names.loaded) == 2


def test_a_name_without_tokens_is_never_found() -> None:
    names = table(embedding("  "))
    assert len(names.loaded) == 1
    assert found(names, "a   b") == []


def test_an_embedding_s_sizes() -> None:
    both = embedding("c", 3, 768, 1280)
    assert (both.count, both.widths) == (3, (768, 1280))
