"""sha256 of files of weights, and what else was found out about them, kept across runs."""

import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from .folders import Stamp

log = structlog.get_logger(__name__)

CHUNK_BYTES = 1 << 20
LEGACY_OFFSET = 0x100000
LEGACY_BYTES = 0x10000
LEGACY_DIGITS = 8
BUSY_SECONDS = 5.0
#: the fact that is the sha256 of a whole file
SHA256 = "sha256"
SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (
    path TEXT NOT NULL, fact TEXT NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (path, fact)
) WITHOUT ROWID
"""

_NEVER = -1

OnBytes = Callable[[int], object]
_Key = tuple[str, str]
_Row = tuple[str, str, int, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unhashed:
    """A file whose hash nobody has needed yet, and how to come by it: `read` is told the pieces."""

    path: Path
    stamp: Stamp
    fact: str
    read: Callable[[Path, OnBytes], str]


def sha256(
    path: Path, on_bytes: OnBytes | None = None, *, start: int = 0, passing: bool = False
) -> str:
    """Hash a file from byte `start` on; `on_bytes` hears the size of each piece read.

    A `passing` reader leaves the page cache to others. Raises OSError, and what `on_bytes` raises.
    """
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with path.open("rb", buffering=0) as file:
        _advise(file.fileno(), "POSIX_FADV_SEQUENTIAL")
        position = file.seek(start)
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            if passing:
                _advise(file.fileno(), "POSIX_FADV_DONTNEED", position, count)
            position += count
            if on_bytes is not None:
                on_bytes(count)
    return digest.hexdigest()


def passing_sha256(path: Path, on_bytes: OnBytes) -> str:
    """Hash a whole file as a passing reader. Raises as `sha256`."""
    return sha256(path, on_bytes, passing=True)


def legacy_hash(path: Path) -> str:
    """Give the 8 digits that old infotexts name a model by: 64 KiB at 1 MiB. Raises OSError."""
    with path.open("rb") as file:
        file.seek(LEGACY_OFFSET)
        return hashlib.sha256(file.read(LEGACY_BYTES)).hexdigest()[:LEGACY_DIGITS]


class HashCache:
    """Hashes and other facts in a small database; of a file that changed since none is known.

    Safe for several threads and processes. A database that cannot be used costs one warning: facts
    are then kept in memory alone.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._facts: dict[_Key, tuple[Stamp, str]] = {}
        self._unwritten: list[_Row] | None = None
        self._read_at = _NEVER
        self._version = 0
        self._urgent = 0
        self._usable = True
        self._lock = threading.RLock()

    @property
    def version(self) -> int:
        """Another number whenever a fact was added, by another process too."""
        with self._lock:
            self._refresh()
            return self._version

    @property
    def urgent(self) -> bool:
        """Whether somebody waits for a hash."""
        return self._urgent > 0

    def get(self, path: Path, fact: str = SHA256) -> str | None:
        """Return a fact about the file as it is now, or None."""
        stamp = Stamp.of(path)
        return None if stamp is None else self.told(path, stamp, fact)

    def told(self, path: Path, stamp: Stamp, fact: str = SHA256) -> str | None:
        """Return a fact about the file as it was at `stamp`, or None; looks into memory alone."""
        with self._lock:
            if self._read_at == _NEVER:
                self._refresh()
            known = self._facts.get((os.path.abspath(path), fact))
        return known[1] if known is not None and known[0] == stamp else None

    def known(self, path: Path, compute: Callable[[Path], str], fact: str = SHA256) -> str:
        """The file's hash: the stored one, else `compute`d and stored. Raises OSError.

        Of a file that changes while it is read the hash is given and not stored.
        """
        with self._lock:
            self._refresh()
            self._urgent += 1
        try:
            before = Stamp.of(path)
            stored = None if before is None else self.told(path, before, fact)
            if stored is not None:
                return stored
            digest = compute(path)
            if before is not None and Stamp.of(path) == before:
                self.put(path, before, digest, fact)
            return digest
        finally:
            with self._lock:
                self._urgent -= 1

    def put(self, path: Path, stamp: Stamp, value: str, fact: str = SHA256) -> None:
        """Store a fact about the file as it was at `stamp`."""
        name = os.path.abspath(path)
        row = (name, fact, stamp.size, stamp.mtime_ns, value)
        with self._lock:
            self._facts[name, fact] = stamp, value
            self._version += 1
            if self._unwritten is not None:
                self._unwritten.append(row)
            else:
                self._write([row])

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write what is put within the block in one go at its end."""
        with self._lock:
            outermost = self._unwritten is None
            if outermost:
                self._unwritten = []
        try:
            yield
        finally:
            if outermost:
                with self._lock:
                    rows, self._unwritten = self._unwritten or [], None
                    if rows:
                        self._write(rows)

    def _refresh(self) -> None:
        """Read the database where another process has written it since."""
        now = _changes(self._database)
        if not self._usable or now == self._read_at:
            return
        self._read_at = now
        if now == 0:
            return
        try:
            with closing(self._connect()) as connection:
                rows = connection.execute(
                    "SELECT path, fact, size, mtime_ns, value FROM facts"
                ).fetchall()
        except sqlite3.Error as error:
            self._give_up(error)
            return
        self._facts.update(_facts(rows))
        self._version += 1

    def _write(self, rows: Iterable[_Row]) -> None:
        if not self._usable:
            return
        try:
            self._database.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as connection, connection:
                connection.executemany("REPLACE INTO facts VALUES (?, ?, ?, ?, ?)", rows)
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)
        else:
            # ours alone needs no reading; with another process's between it does
            if _changes(self._database) == self._read_at + 1:
                self._read_at += 1

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._database, timeout=BUSY_SECONDS)
        try:
            connection.execute(SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _give_up(self, error: Exception) -> None:
        self._usable = False
        log.warning(
            "hashes are not stored, they are computed again next time",
            database=str(self._database),
            reason=str(error),
        )


def _changes(database: Path) -> int:
    """How often a database was written, by its own count; 0 for none.

    Bytes 24 to 27 (https://www.sqlite.org/fileformat.html, "File change counter").
    """
    try:
        with database.open("rb") as file:
            return int.from_bytes(file.read(28)[24:], "big")
    except OSError:
        return 0


def _facts(rows: Iterable[_Row]) -> Iterator[tuple[_Key, tuple[Stamp, str]]]:
    for path, fact, size, mtime_ns, value in rows:
        yield (path, fact), (Stamp(size, mtime_ns), value)


def _advise(descriptor: int, advice: str, position: int = 0, count: int = 0) -> None:
    """Tell the kernel how a file is read, where it can be told."""
    number = getattr(os, advice, None)
    if number is not None:
        os.posix_fadvise(descriptor, position, count, number)
