"""The textual inversions of some folders, kept in memory and looked after."""

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import structlog

from ..folders import printable
from .files import EmbeddingFile, find_files
from .reading import BadEmbedding, read_embedding
from .table import Embedding, EmbeddingTable

log = structlog.get_logger(__name__)


class EmbeddingShelf:
    """Reads each file once, and again when it has changed; safe for several threads."""

    def __init__(self, folders: Iterable[Path], *, hashing: bool = True) -> None:
        """Look after `folders`; nothing is read yet. Without `hashing` no file has a hash."""
        self._folders = tuple(folders)
        self._hashing = hashing
        self._read: dict[EmbeddingFile, Embedding | None] = {}
        self._embeddings: tuple[Embedding, ...] = ()
        self._table: tuple[object, EmbeddingTable] | None = None
        self._lock = threading.Lock()

    def embeddings(self) -> tuple[Embedding, ...]:
        """Look at the folders again, and give what is there, by name.

        A file that cannot be used costs one warning and is left out; so does one of a name that
        another file has.
        """
        with self._lock:
            files = find_files(self._folders)
            if self._read.keys() != set(files):
                self._read = {
                    file: self._read[file] if file in self._read else self._reading(file)
                    for file in files
                }
                self._embeddings = _by_name(each for each in self._read.values() if each)
            return self._embeddings

    def table(
        self, widths: tuple[int, ...], encode: Callable[[str], Sequence[int]]
    ) -> EmbeddingTable:
        """Look again, and give what text encoders of these widths can take.

        `encode` gives the token ids of a name; the same table comes back while nothing changes.
        """
        key = (self.embeddings(), widths, encode)
        with self._lock:
            if self._table is None or self._table[0] != key:
                self._table = key, EmbeddingTable(*key)
            return self._table[1]

    def _reading(self, file: EmbeddingFile) -> Embedding | None:
        try:
            return read_embedding(file, hashing=self._hashing)
        except BadEmbedding as error:
            log.warning("embedding skipped", path=printable(file.path), reason=str(error))
            return None


def _by_name(embeddings: Iterable[Embedding]) -> tuple[Embedding, ...]:
    """One of each name, the first, in the order of names whatever their case."""
    named: dict[str, Embedding] = {}
    for embedding in embeddings:
        first = named.setdefault(embedding.name, embedding)
        if first is not embedding:
            path, other = printable(embedding.path), printable(first.path)
            log.warning("embedding skipped", path=path, reason=f"same name as {other}")
    return tuple(sorted(named.values(), key=lambda each: each.name.lower()))
