"""Weighted text to 75-token chunks, the unit in which the text encoder reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .emphasis import Span, parse_emphasis

if TYPE_CHECKING:
    from models.embeddings.table import Embedding, EmbeddingTable

#: the id that holds the place of an embedding's vector
PLACEHOLDER = 0
#: tokens of text in a chunk; with the marks of start and end the encoder sees 77
CHUNK = 75


class Tokenizer(Protocol):
    """What is asked of a tokenizer: ids without marks, and three ids."""

    @property
    def bos(self) -> int:
        """The mark of the start."""

    @property
    def eos(self) -> int:
        """The mark of the end, which also pads."""

    @property
    def comma(self) -> int:
        """The token of a comma that ends a word."""

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, without marks and of any length."""


@dataclass(frozen=True, slots=True)
class Insertion:
    """The vectors of `embedding`, in place of those of the ids from `position` on."""

    position: int
    embedding: "Embedding"


@dataclass(frozen=True, slots=True)
class Chunk:
    """77 token ids, marks included, the weight of each, and the embeddings among them."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    insertions: tuple[Insertion, ...] = ()


class _ChunkWriter:
    """Fills chunks token by token, moving the text after a late comma to the next chunk.

    Of an embedding among that text only the placeholders move: its vectors stay with the chunk,
    in the padding. That is the reference's own behaviour, and pictures depend on it.
    """

    def __init__(self, tokenizer: Tokenizer, backtrack: int) -> None:
        self._tokenizer = tokenizer
        self._backtrack = backtrack
        self._ids: list[int] = []
        self._weights: list[float] = []
        self._insertions: list[Insertion] = []
        self._after_comma = -1
        self.chunks: list[Chunk] = []

    def write(self, token: int, weight: float) -> None:
        self._make_room(token)
        self._ids.append(token)
        self._weights.append(weight)

    def insert(self, embedding: "Embedding", token: int, weight: float) -> None:
        """Put all vectors of `embedding` in one chunk; its name began with `token`."""
        self._make_room(token)
        if len(self._ids) + embedding.count > CHUNK:
            self.close()
        # counted with the mark of the start
        self._insertions.append(Insertion(len(self._ids) + 1, embedding))
        self._ids += [PLACEHOLDER] * embedding.count
        self._weights += [weight] * embedding.count

    def _make_room(self, token: int) -> None:
        if token == self._tokenizer.comma:
            self._after_comma = len(self._ids) + 1
        elif len(self._ids) == CHUNK and self._late_comma():
            kept = self._after_comma
            moved_ids, moved_weights = self._ids[kept:], self._weights[kept:]
            del self._ids[kept:], self._weights[kept:]
            self.close()
            self._ids, self._weights = moved_ids, moved_weights
        if len(self._ids) == CHUNK:
            self.close()

    def _late_comma(self) -> bool:
        tail = len(self._ids) - (self._after_comma - 1)
        return bool(self._backtrack) and self._after_comma >= 0 and tail <= self._backtrack

    def close(self) -> None:
        missing = CHUNK - len(self._ids)
        bos, eos = self._tokenizer.bos, self._tokenizer.eos
        ids = (bos, *self._ids, *[eos] * missing, eos)
        weights = (1.0, *self._weights, *[1.0] * missing, 1.0)
        self.chunks.append(Chunk(ids, weights, tuple(self._insertions)))
        self._ids, self._weights, self._insertions, self._after_comma = [], [], [], -1

    def finish(self) -> tuple[Chunk, ...]:
        if self._ids or not self.chunks:
            self.close()
        return tuple(self.chunks)


def chunk_spans(
    spans: Sequence[Span],
    tokenizer: Tokenizer,
    backtrack: int,
    embeddings: "EmbeddingTable | None" = None,
) -> tuple[Chunk, ...]:
    """Chunks of weighted spans; at least one.

    When a chunk is full and a comma stood among its last `backtrack` tokens, what follows that
    comma goes to the next chunk, so that no phrase is torn. The names of `embeddings` are read as
    such wherever their tokens stand within a span; an embedding's vectors are never torn.
    """
    writer = _ChunkWriter(tokenizer, backtrack)
    for span in spans:
        if span.breaks:
            writer.close()
            continue
        for token, embedding in _read(tokenizer.encode(span.text), embeddings):
            if embedding is None:
                writer.write(token, span.weight)
            else:
                writer.insert(embedding, token, span.weight)
    return writer.finish()


def _read(
    ids: Sequence[int], embeddings: "EmbeddingTable | None"
) -> "Iterator[tuple[int, Embedding | None]]":
    """Each id alone; those of an embedding's name as one, by their first."""
    position = 0
    while position < len(ids):
        found = None if embeddings is None else embeddings.find(ids, position)
        embedding, length = found or (None, 1)
        yield ids[position], embedding
        position += length


def chunk_prompt(
    prompt: str,
    tokenizer: Tokenizer,
    *,
    backtrack: int,
    emphasis: bool = True,
    embeddings: "EmbeddingTable | None" = None,
) -> tuple[Chunk, ...]:
    """Chunks of a prompt; without `emphasis` its brackets are plain text."""
    spans = parse_emphasis(prompt) if emphasis else [Span(prompt, 1.0)]
    return chunk_spans(spans, tokenizer, backtrack, embeddings)


def used_embeddings(texts: Sequence[Sequence[Chunk]]) -> "tuple[Embedding, ...]":
    """The embeddings in a prompt's texts, each once, in the order in which they are encoded.

    That is chunk by chunk, the texts' first ones before their second ones.
    """
    longest = max((len(text) for text in texts), default=0)
    places = [text[place] for place in range(longest) for text in texts if place < len(text)]
    found = (each.embedding for chunk in places for each in chunk.insertions)
    return tuple({embedding.name: embedding for embedding in found}.values())
