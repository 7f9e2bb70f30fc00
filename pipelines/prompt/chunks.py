"""Weighted text to 75-token chunks, the unit in which the text encoder reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .emphasis import Span, parse_emphasis

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
class Chunk:
    """77 token ids, marks included, and the weight of each."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]


class _ChunkWriter:
    """Fills chunks token by token, moving the text after a late comma to the next chunk."""

    def __init__(self, tokenizer: Tokenizer, backtrack: int) -> None:
        self._tokenizer = tokenizer
        self._backtrack = backtrack
        self._ids: list[int] = []
        self._weights: list[float] = []
        self._after_comma = -1
        self.chunks: list[Chunk] = []

    def write(self, token: int, weight: float) -> None:
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
        self._ids.append(token)
        self._weights.append(weight)

    def _late_comma(self) -> bool:
        tail = len(self._ids) - (self._after_comma - 1)
        return bool(self._backtrack) and self._after_comma >= 0 and tail <= self._backtrack

    def close(self) -> None:
        missing = CHUNK - len(self._ids)
        bos, eos = self._tokenizer.bos, self._tokenizer.eos
        ids = (bos, *self._ids, *[eos] * missing, eos)
        weights = (1.0, *self._weights, *[1.0] * missing, 1.0)
        self.chunks.append(Chunk(ids, weights))
        self._ids, self._weights, self._after_comma = [], [], -1

    def finish(self) -> tuple[Chunk, ...]:
        if self._ids or not self.chunks:
            self.close()
        return tuple(self.chunks)


def chunk_spans(spans: Sequence[Span], tokenizer: Tokenizer, backtrack: int) -> tuple[Chunk, ...]:
    """Chunks of weighted spans; at least one.

    When a chunk is full and a comma stood among its last `backtrack` tokens, what follows that
    comma goes to the next chunk, so that no phrase is torn.
    """
    writer = _ChunkWriter(tokenizer, backtrack)
    for span in spans:
        if span.breaks:
            writer.close()
            continue
        for token in tokenizer.encode(span.text):
            writer.write(token, span.weight)
    return writer.finish()


def chunk_prompt(
    prompt: str, tokenizer: Tokenizer, *, backtrack: int, emphasis: bool = True
) -> tuple[Chunk, ...]:
    """Chunks of a prompt; without `emphasis` its brackets are plain text."""
    spans = parse_emphasis(prompt) if emphasis else [Span(prompt, 1.0)]
    return chunk_spans(spans, tokenizer, backtrack)
