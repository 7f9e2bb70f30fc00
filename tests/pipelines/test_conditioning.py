"""Conditioning: the text encoder's vectors, weighted by emphasis."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.embeddings.table import EmbeddingTable
from pipelines.conditioning import encode
from pipelines.plan import Encoding
from pipelines.prompt.chunks import chunk_prompt
from pipelines.steps import Encode

from ..models.embeddings.made import embedding
from .toy import WIDTH, ToyCheckpoint

PROMPT = "a (cat:1.5) [mat]"
WEIGHTS = torch.tensor([1.0, 1.0, 1.5, 1 / 1.1, *[1.0] * 73])


def wanted(*prompts: str, **encoding: Any) -> Encode:
    toy, chosen = ToyCheckpoint(), Encoding(**encoding)
    *texts, (empty,) = (
        chunk_prompt(prompt, toy.tokenizer, backtrack=20, emphasis=chosen.emphasis != "None")
        for prompt in (*prompts, "")
    )
    return Encode(tuple(texts), empty, chosen)


def encoded(prompt: str, checkpoint: ToyCheckpoint | None = None, **encoding: Any) -> Tensor:
    toy = checkpoint or ToyCheckpoint()
    return encode(toy.lent(), wanted(prompt, **encoding)).context


def together(*prompts: str, **encoding: Any) -> Tensor:
    return encode(ToyCheckpoint().lent(), wanted(*prompts, **encoding)).context


def states(*words: str) -> Tensor:
    """The toy's own vectors [77,WIDTH] of a chunk of words."""
    toy = ToyCheckpoint()
    ids = [toy.tokenizer.bos, *(toy.tokenizer.id(word) for word in words)]
    padded = torch.tensor([ids + [toy.tokenizer.eos] * (77 - len(ids))])
    return toy.encode_tokens(padded, 1)[0]


def test_unweighted_text_is_what_the_encoder_gives() -> None:
    assert torch.equal(encoded("a cat")[0], states("a", "cat"))


def test_no_norm_weighs_each_token() -> None:
    expected = states("a", "cat", "mat") * WEIGHTS[:, None]
    torch.testing.assert_close(encoded(PROMPT, emphasis="No norm")[0], expected)


def test_original_keeps_the_mean_of_the_chunk() -> None:
    plain = states("a", "cat", "mat")
    weighted = plain * WEIGHTS[:, None]
    found = encoded(PROMPT)[0]
    torch.testing.assert_close(found, weighted * (plain.mean() / weighted.mean()))
    assert found.mean().item() == pytest.approx(plain.mean().item(), rel=1e-5)
    assert not torch.allclose(found, plain)


def test_ignore_reads_the_brackets_and_weighs_nothing() -> None:
    assert torch.equal(encoded(PROMPT, emphasis="Ignore")[0], states("a", "cat", "mat"))


def test_none_takes_brackets_as_text() -> None:
    assert torch.equal(encoded(PROMPT, emphasis="None")[0], states("a", "(cat:1.5)", "[mat]"))


def test_chunks_follow_each_other_each_with_its_own_mean() -> None:
    toy = ToyCheckpoint()
    found = encoded("a (cat:1.5) [mat] BREAK (dog:0.2)", toy)
    assert found.shape == (1, 154, WIDTH)
    torch.testing.assert_close(found[0, :77], encoded(PROMPT)[0])
    torch.testing.assert_close(found[0, 77:], encoded("(dog:0.2)")[0])
    assert [len(ids) for ids, _ in toy.encoded] == [77, 77], "a place at a time"


@pytest.mark.parametrize("clip_skip", [1, 2, 12])
def test_the_encoder_is_told_the_clip_skip(clip_skip: int) -> None:
    toy = ToyCheckpoint()
    found = encoded("a", toy, clip_skip=clip_skip)
    assert [skip for _, skip in toy.encoded] == [clip_skip]
    assert found[0, 0, 2].item() == clip_skip


def test_texts_go_through_the_encoder_together_place_by_place() -> None:
    toy = ToyCheckpoint()
    found = encode(
        toy.lent(), wanted("a BREAK b", "c BREAK d", "e BREAK f", emphasis="Ignore")
    ).context
    assert found.shape == (3, 154, WIDTH)
    word = toy.tokenizer.id
    starts = [[ids[77 * i + 1] for i in range(3)] for ids, _ in toy.encoded]
    assert starts == [[word("a"), word("c"), word("e")], [word("b"), word("d"), word("f")]]
    torch.testing.assert_close(found[1, 77:], states("d"))


def test_original_keeps_the_mean_of_all_texts_of_a_place_together() -> None:
    """A scheduled prompt's texts share a mean, so each differs from the same text alone."""
    found = together("a (cat:1.5)", "dog", "a (hen:0.2)")
    plain = torch.stack([states("a", "cat"), states("dog"), states("a", "hen")])
    weights = torch.ones(3, 77, 1)
    weights[0, 2], weights[2, 2] = 1.5, 0.2
    weighted = plain * weights
    torch.testing.assert_close(found, weighted * (plain.mean() / weighted.mean()))
    assert not torch.allclose(found[0], encoded("a (cat:1.5)")[0])
    assert not torch.allclose(found[1], states("dog")), "the others' weights reach it"


def test_shorter_texts_are_lengthened_by_empty_chunks() -> None:
    found = together("cat", "a BREAK b BREAK c", emphasis="Ignore")
    assert found.shape == (2, 231, WIDTH)
    torch.testing.assert_close(found[0], torch.cat([states("cat"), states(), states()]))


def test_the_empty_chunks_count_in_the_mean_of_their_place() -> None:
    found = together("cat", "a BREAK (b:3)")
    plain = torch.stack([states(), states("b")])
    weighted = plain.clone()
    weighted[1, 1] *= 3
    torch.testing.assert_close(found[:, 77:], weighted * (plain.mean() / weighted.mean()))


class Watching(ToyCheckpoint):
    """Keeps the vectors it was given for each row."""

    def encode_tokens(self, ids: Tensor, clip_skip: int, inserted: Any = ()) -> Tensor:
        self.given = [[(place, vectors.tolist()) for place, vectors in row] for row in inserted]
        return super().encode_tokens(ids, clip_skip, inserted)


def test_each_text_s_embeddings_go_to_the_encoder_with_it() -> None:
    toy, plain = Watching(), Encoding()
    table = EmbeddingTable(
        [embedding("one", 2, WIDTH), embedding("two", 1, WIDTH, first=5.0)],
        (WIDTH,),
        toy.tokenizer.encode,
    )
    *texts, empty = (
        chunk_prompt(prompt, toy.tokenizer, backtrack=20, embeddings=table)
        for prompt in ("a one two", "b", "(two:1.5)", "")
    )
    found = encode(toy.lent(), Encode(tuple(texts), empty[0], plain)).context
    one, two = [[1.0] * WIDTH, [2.0] * WIDTH], [[5.0] * WIDTH]
    assert toy.given == [[(2, one), (4, two)], [], [(1, two)]]
    assert found.shape == (3, 77, WIDTH)
