"""Textual inversions as prompts meet them: by the tokens of their names; torch-free."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

#: positions that CLIP's 77 leave between the marks of start and end
ROOM = 75


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embedding:
    """One textual inversion: `tensors` has [count,width] for each text encoder, CLIP-L's first.

    `short_hash` are the twelve digits that infotexts show, None without hashing. `step` and the
    two fields after it are what the trainer wrote down, where it did.
    """

    name: str
    path: "Path"
    tensors: "tuple[Tensor, ...]"
    short_hash: str | None = None
    step: int | None = None
    sd_checkpoint: str | None = None
    sd_checkpoint_name: str | None = None

    @property
    def count(self) -> int:
        """How many tokens' places the vectors take."""
        return len(self.tensors[0])

    @property
    def widths(self) -> tuple[int, ...]:
        """The length of a vector for each text encoder."""
        return tuple(tensor.shape[1] for tensor in self.tensors)

    def fits(self, widths: tuple[int, ...]) -> bool:
        """Whether text encoders of these widths can take it."""
        return self.widths == widths and self.count <= ROOM


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelved:
    """Embeddings by whether the text encoders at hand can take them."""

    loaded: tuple[Embedding, ...]
    skipped: tuple[Embedding, ...] = ()


def shelved(embeddings: Iterable[Embedding], widths: tuple[int, ...] | None) -> Shelved:
    """Sort `embeddings` by what fits text encoders of `widths`; None knows none, and takes all."""
    loaded: list[Embedding] = []
    skipped: list[Embedding] = []
    for each in embeddings:
        (loaded if widths is None or each.fits(widths) else skipped).append(each)
    return Shelved(loaded=tuple(loaded), skipped=tuple(skipped))


class EmbeddingTable:
    """The embeddings that text encoders of some widths can take, and those they cannot."""

    def __init__(
        self,
        embeddings: Iterable[Embedding],
        widths: tuple[int, ...],
        encode: Callable[[str], Sequence[int]],
    ) -> None:
        """Sort `embeddings` by what fits `widths`; `encode` gives a name's token ids."""
        found = shelved(embeddings, widths)
        self.loaded, self.skipped = found.loaded, found.skipped
        self._by_first: dict[int, list[tuple[tuple[int, ...], Embedding]]] = {}
        for embedding in self.loaded:
            if ids := tuple(encode(embedding.name)):
                self._by_first.setdefault(ids[0], []).append((ids, embedding))
        for names in self._by_first.values():
            names.sort(key=lambda named: len(named[0]), reverse=True)

    def find(self, ids: Sequence[int], position: int) -> tuple[Embedding, int] | None:
        """The embedding whose name begins at `position` of `ids`, and the name's length in ids.

        The longest name wins; of names with the same tokens, the first listed.
        """
        for name, embedding in self._by_first.get(ids[position], ()):
            if tuple(ids[position : position + len(name)]) == name:
                return embedding, len(name)
        return None
