"""sha256 of checkpoint files, remembered across runs."""

import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

CHUNK_BYTES = 4 << 20
LEGACY_OFFSET = 0x100000
LEGACY_BYTES = 0x10000
LEGACY_DIGITS = 8
BUSY_SECONDS = 5.0
SCHEMA = """
CREATE TABLE IF NOT EXISTS hashes (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL
)
"""


def sha256(path: Path, on_bytes: Callable[[int], object] | None = None) -> str:
    """Hash a whole file; `on_bytes` hears the size of each piece read. Raises OSError."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            if on_bytes is not None:
                on_bytes(count)
    return digest.hexdigest()


def legacy_hash(path: Path) -> str:
    """Give the 8 digits that old infotexts name a model by: 64 KiB at 1 MiB. Raises OSError."""
    with path.open("rb") as file:
        file.seek(LEGACY_OFFSET)
        return hashlib.sha256(file.read(LEGACY_BYTES)).hexdigest()[:LEGACY_DIGITS]


class HashCache:
    """Known hashes in a small database; a file that changed since is unknown again.

    Safe for several threads and processes. A database that cannot be used costs one warning:
    hashes are then kept in memory alone.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._memory: dict[tuple[str, int, int], str] = {}
        self._lock = threading.Lock()
        self._usable = True

    def get(self, path: Path) -> str | None:
        """Return the stored hash of the file as it is now, or None."""
        try:
            key = _key(path, path.stat())
        except OSError:
            return None
        with self._lock:
            if key not in self._memory:
                found = self._select(key) if self._usable else None
                if found is None:
                    return None
                self._memory[key] = found
            return self._memory[key]

    def known(self, path: Path, compute: Callable[[Path], str]) -> str:
        """The file's hash: the stored one, else `compute`d and stored. Raises OSError.

        Of a file that changes while it is read the hash is given and not stored.
        """
        if stored := self.get(path):
            return stored
        before = path.stat()
        digest = compute(path)
        after = path.stat()
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            self.put(path, before, digest)
        return digest

    def put(self, path: Path, stat: os.stat_result, digest: str) -> None:
        """Store the hash of the file as it was when `stat` was taken."""
        key = _key(path, stat)
        with self._lock:
            self._memory[key] = digest
            if self._usable:
                self._insert(key, digest)

    def _select(self, key: tuple[str, int, int]) -> str | None:
        if not os.path.exists(self._database):
            return None
        try:
            with closing(self._connect()) as connection:
                row = connection.execute(
                    "SELECT sha256 FROM hashes WHERE path = ? AND size = ? AND mtime_ns = ?", key
                ).fetchone()
        except sqlite3.Error as error:
            self._give_up(error)
            return None
        return None if row is None else str(row[0])

    def _insert(self, key: tuple[str, int, int], digest: str) -> None:
        try:
            self._database.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as connection, connection:
                connection.execute("REPLACE INTO hashes VALUES (?, ?, ?, ?)", (*key, digest))
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

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


def _key(path: Path, stat: os.stat_result) -> tuple[str, int, int]:
    return os.path.abspath(path), stat.st_size, stat.st_mtime_ns
