import hashlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from models.folders import Stamp
from models.hashing import CHUNK_BYTES, HashCache, legacy_hash, passing_sha256, sha256

from .files import CHECKPOINTS

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
WRITER = """
import os, sys
from pathlib import Path
from models.folders import Stamp
from models.hashing import HashCache
cache, start = HashCache(Path(sys.argv[1])), int(sys.argv[2])
for number in range(start, start + 20):
    path = Path(sys.argv[3]) / str(number)
    path.write_text(str(number))
    cache.put(path, Stamp.told_by(path.stat()), f"hash{number}")
"""


def stored(cache: HashCache, path: Path, digest: str) -> None:
    stamp = Stamp.of(path)
    assert stamp is not None
    cache.put(path, stamp, digest)


def warnings(logs: list[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    return [entry for entry in logs if entry["log_level"] == "warning"]


def test_sha256_of_a_known_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == ABC


def test_sha256_reads_every_piece_and_reports_it(tmp_path: Path) -> None:
    content = os.urandom(CHUNK_BYTES + 5)
    (tmp_path / "a").write_bytes(content)
    heard: list[int] = []
    assert sha256(tmp_path / "a", heard.append) == hashlib.sha256(content).hexdigest()
    assert sum(heard) == len(content)
    assert len(heard) > 1


def test_the_reference_checkpoint_has_its_recorded_hash() -> None:
    assert sha256(CHECKPOINTS / "tiny-sd15.safetensors").startswith("df30768f29")


def test_the_legacy_hash_looks_at_64_kib_after_the_first_mib(tmp_path: Path) -> None:
    window = os.urandom(0x10000)
    (tmp_path / "a").write_bytes(bytes(0x100000) + window + b"tail")
    (tmp_path / "b").write_bytes(b"\x01" * 0x100000 + window)
    expected = hashlib.sha256(window).hexdigest()[:8]
    assert legacy_hash(tmp_path / "a") == legacy_hash(tmp_path / "b") == expected


def test_a_hash_outlives_the_process_that_stored_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    stored(HashCache(tmp_path / "cache" / "hashes.db"), tmp_path / "a", ABC)
    assert HashCache(tmp_path / "cache" / "hashes.db").get(tmp_path / "a") == ABC
    assert HashCache(tmp_path / "cache" / "hashes.db").get(tmp_path / "b") is None


@pytest.mark.parametrize("change", ["size", "time", "gone"])
def test_a_changed_file_is_unknown_again(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    cache = HashCache(tmp_path / "hashes.db")
    stored(cache, path, ABC)
    assert cache.get(path) == ABC
    if change == "size":
        before = path.stat()
        path.write_bytes(b"abcd")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif change == "time":
        os.utime(path, ns=(0, 1))
    else:
        path.unlink()
    assert cache.get(path) is None


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    database = tmp_path / "hashes.db"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(database), str(start), str(tmp_path)])
        for start in (0, 20)
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    cache = HashCache(database)
    assert [cache.get(tmp_path / str(n)) for n in range(40)] == [f"hash{n}" for n in range(40)]


def test_an_unwritable_place_costs_one_warning_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    # A file where a folder is wanted: no user, root included, can create anything below it.
    cache = HashCache(tmp_path / "file" / "hashes.db")
    with capture_logs() as logs:
        assert cache.get(tmp_path / "file") is None
        stored(cache, tmp_path / "file", ABC)
        stored(cache, tmp_path / "file", ABC)
        assert cache.get(tmp_path / "file") == ABC
    assert len(warnings(logs)) == 1
    assert warnings(logs)[0]["database"] == str(tmp_path / "file" / "hashes.db")


def test_a_damaged_database_costs_one_warning_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "hashes.db").write_bytes(b"this is no database" * 100)
    cache = HashCache(tmp_path / "hashes.db")
    with capture_logs() as logs:
        assert cache.get(tmp_path / "a") is None
        stored(cache, tmp_path / "a", ABC)
        assert cache.get(tmp_path / "a") == ABC
    assert len(warnings(logs)) == 1


def test_an_empty_database_is_filled_without_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    sqlite3.connect(tmp_path / "hashes.db").close()
    with capture_logs() as logs:
        assert HashCache(tmp_path / "hashes.db").get(tmp_path / "a") is None
        stored(HashCache(tmp_path / "hashes.db"), tmp_path / "a", ABC)
    assert logs == []


def test_a_hash_may_begin_anywhere_and_leave_the_cache_to_others(tmp_path: Path) -> None:
    content = os.urandom(3 * CHUNK_BYTES + 7)
    (tmp_path / "a").write_bytes(content)
    expected = hashlib.sha256(content[100:]).hexdigest()
    assert sha256(tmp_path / "a", start=100, passing=True) == expected
    assert passing_sha256(tmp_path / "a", lambda count: None) == hashlib.sha256(content).hexdigest()


def test_facts_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    cache, stamp = HashCache(tmp_path / "hashes.db"), Stamp.of(path)
    assert stamp is not None
    cache.put(path, stamp, ABC)
    cache.put(path, stamp, "other", "payload")
    again = HashCache(tmp_path / "hashes.db")
    assert (again.get(path), again.get(path, "payload"), again.get(path, "x")) == (
        ABC,
        "other",
        None,
    )


def test_what_is_put_together_is_written_in_one_go(tmp_path: Path) -> None:
    cache, stamp = HashCache(tmp_path / "hashes.db"), Stamp(1, 1)
    with cache.together():
        for number in range(10):
            cache.put(tmp_path / str(number), stamp, str(number))
        assert not (tmp_path / "hashes.db").exists()
        assert cache.told(tmp_path / "3", stamp) == "3"
    other = HashCache(tmp_path / "hashes.db")
    assert [other.told(tmp_path / str(n), stamp) for n in range(10)] == [str(n) for n in range(10)]


def test_the_version_tells_of_other_processes_too(tmp_path: Path) -> None:
    mine, other = HashCache(tmp_path / "hashes.db"), HashCache(tmp_path / "hashes.db")
    first = mine.version
    assert mine.version == first
    stamp = Stamp(1, 1)
    other.put(tmp_path / "a", stamp, ABC)
    second = mine.version
    assert second != first
    assert mine.told(tmp_path / "a", stamp) == ABC
    mine.put(tmp_path / "b", stamp, ABC)
    third = mine.version
    assert third != second
    assert mine.version == third
    # both at once: neither misses the other's
    other.put(tmp_path / "c", stamp, ABC)
    mine.put(tmp_path / "d", stamp, ABC)
    assert (mine.version, other.version) != (third, 0)
    assert mine.told(tmp_path / "c", stamp) == other.told(tmp_path / "d", stamp) == ABC


def test_two_processes_share_what_either_computes(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"abc")
    cache = HashCache(tmp_path / "hashes.db")
    assert cache.get(path) is None
    program = (
        "import sys; from pathlib import Path; from models.hashing import HashCache, sha256;"
        "print(HashCache(Path(sys.argv[1])).known(Path(sys.argv[2]), sha256))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "hashes.db"), str(path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [each.communicate(timeout=60)[0].strip() for each in both] == [ABC, ABC]

    def never(asked: Path) -> str:
        raise AssertionError(f"{asked} was hashed again")

    assert cache.known(path, never) == ABC


def test_somebody_waiting_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    cache = HashCache(tmp_path / "hashes.db")
    seen: list[bool] = []

    def computing(asked: Path) -> str:
        seen.append(cache.urgent)
        return sha256(asked)

    assert cache.known(path, computing) == ABC
    assert (seen, cache.urgent) == ([True], False)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        cache.known(path, computing)
    assert not cache.urgent


def test_a_file_that_changes_while_it_is_read_is_not_stored(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    cache = HashCache(tmp_path / "hashes.db")

    def computing(asked: Path) -> str:
        digest = sha256(asked)
        asked.write_bytes(b"changed")
        return digest

    assert cache.known(path, computing) == ABC
    assert cache.get(path) is None
