"""Conditioning: the text encoder's vectors, weighted by emphasis."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from models.embeddings.table import Embedding, EmbeddingTable
from models.families.text import Encoded
from pipelines.conditioning import encode, encode_together
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
    assert [len(ids) for ids, _ in toy.encoded] == [154], "all chunks go together"


@pytest.mark.parametrize("clip_skip", [1, 2, 12])
def test_the_encoder_is_told_the_clip_skip(clip_skip: int) -> None:
    toy = ToyCheckpoint()
    found = encoded("a", toy, clip_skip=clip_skip)
    assert [skip for _, skip in toy.encoded] == [clip_skip]
    assert found[0, 0, 2].item() == clip_skip


def test_chunks_go_through_the_encoder_together_and_each_once() -> None:
    toy = ToyCheckpoint()
    texts = wanted("a BREAK b", "c BREAK (b:1.3)", "a BREAK f", emphasis="Ignore")
    found = encode(toy.lent(), texts).context
    assert found.shape == (3, 154, WIDTH)
    word = toy.tokenizer.id
    ((ids, _),) = toy.encoded
    assert ids[1::77] == (word("a"), word("b"), word("c"), word("f"))
    torch.testing.assert_close(found[1, :77], states("c"))
    torch.testing.assert_close(found[1, 77:], states("b"))
    torch.testing.assert_close(found[2, :77], states("a"))


def test_prompts_are_encoded_together_as_each_alone() -> None:
    """Lengths, weights and layers differ; what differs in layers is another run of the encoder."""
    toy = ToyCheckpoint()
    prompts = [
        wanted("a (cat:1.5) [mat] BREAK (dog:0.2)", "hen"),
        wanted("hen", emphasis="No norm"),
        wanted("a (cat:1.5)", clip_skip=2),
    ]
    found = encode_together(toy.lent(), prompts)
    assert [skip for _, skip in toy.encoded] == [1, 2]
    for told, prompt in zip(found, prompts, strict=True):
        torch.testing.assert_close(told.context, encode(ToyCheckpoint().lent(), prompt).context)


def test_a_great_many_chunks_go_in_parts() -> None:
    toy = ToyCheckpoint()
    texts = list(
        {toy.tokenizer.id(text): text for text in map("word{}".format, range(90))}.values()
    )
    found = encode(toy.lent(), wanted(*texts[:70])).context
    assert [len(ids) // 77 for ids, _ in toy.encoded] == [64, 6]
    torch.testing.assert_close(found[69], states(texts[69]))


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


def test_where_numbers_are_wanted_they_follow_the_first_chunk_s_pooled_states() -> None:
    toy = ToyCheckpoint(sizes="sizes")
    asked = replace(wanted("a BREAK b", "(c:1.5)"), numbers=(7.0, 8.0))
    found = encode(toy.lent(), asked)
    assert found.vector is not None
    assert found.vector.shape == (2, WIDTH + 2)
    # emphasis weighs the states alone
    pooled = torch.stack([states("a")[1], states("c")[1]])
    assert torch.equal(found.vector[:, :WIDTH], pooled)
    assert found.vector[:, WIDTH:].tolist() == [[7.0, 8.0]] * 2
    assert torch.equal(found.context, encode(toy.lent(), replace(asked, numbers=())).context)
    assert encode(toy.lent(), replace(asked, numbers=())).vector is None


def test_of_nothing_the_encoders_part_is_zeros() -> None:
    toy = ToyCheckpoint(sizes="sizes")
    found = encode(toy.lent(), replace(wanted(""), numbers=(7.0,), nothing=True))
    assert found.vector is not None
    assert torch.equal(found.context, torch.zeros(1, 77, WIDTH))
    assert found.vector.tolist() == [[0.0] * WIDTH + [7.0]]


class Two(ToyCheckpoint):
    """Two encoders; the second one's states are another's, twice as wide."""

    given: list[Any]

    @property
    def encoders(self) -> Any:
        return (*super().encoders, SimpleNamespace(encode=self._second))

    def _second(self, ids: Tensor, *, inserted: Any, **more: Any) -> Encoded:
        self.given = inserted
        own = super().encoders[0].encode(ids, inserted=(), **more)
        return Encoded(torch.cat([own.states**2 + 1, own.states - 5], 2), own.pooled)


def test_states_of_two_encoders_stand_side_by_side_each_with_its_own_mean() -> None:
    toy = Two()
    found = encode(toy.lent(), wanted(PROMPT)).context
    assert found.shape == (1, 77, 3 * WIDTH)
    assert torch.equal(found[:, :, :WIDTH], encoded(PROMPT))
    plain = states("a", "cat", "mat")
    second = torch.cat([plain**2 + 1, plain - 5], 1)
    weighted = second * WEIGHTS.unsqueeze(1)
    torch.testing.assert_close(found[0, :, WIDTH:], weighted * (second.mean() / weighted.mean()))


def test_each_encoder_gets_its_own_vectors_of_an_embedding() -> None:
    first, second = torch.ones(1, WIDTH), torch.full((1, 2 * WIDTH), 2.0)
    both = Embedding(name="word", path=Path("/word.safetensors"), tensors=(first, second))
    toy = Two()
    table = EmbeddingTable([both], (WIDTH, 2 * WIDTH), toy.tokenizer.encode)
    chunks = chunk_prompt("a word", toy.tokenizer, backtrack=20, embeddings=table)
    encode(toy.lent(), Encode((chunks,), chunks[0], Encoding()))
    assert [[(at, len(row[0])) for at, row in each] for each in toy.given] == [[(2, 2 * WIDTH)]]
    assert [[(at, row.shape[1]) for at, row in each] for each in toy.inserted[0]] == [[(2, WIDTH)]]


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
