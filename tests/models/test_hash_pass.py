"""Hashing while nobody draws: it goes on, makes way, and ends."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tqdm import tqdm

from models.folders import Stamp
from models.hash_pass import HashPass
from models.hashing import CHUNK_BYTES, HashCache, sha256
from models.library import Library

from .files import one_tensor, raw_safetensors, tensor
from .shelves import library

PIECES = 8


def large(path: Path) -> Path:
    """A sound file of several pieces."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = PIECES * CHUNK_BYTES
    path.write_bytes(raw_safetensors({"x": tensor("U8", [size], 0, size)}, os.urandom(size)))
    return path


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


@contextmanager
def running(
    files: Library, hashes: HashCache, busy: Callable[[], bool] = lambda: False
) -> Iterator[HashPass]:
    made = HashPass(files, hashes, busy=busy, quiet_seconds=0.01)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def test_every_file_gets_its_hash_and_so_does_one_that_comes_later(tmp_path: Path) -> None:
    model = one_tensor(tmp_path / "models" / "a.safetensors")
    one_tensor(tmp_path / "Lora" / "l.safetensors", fill=1)
    one_tensor(tmp_path / "VAE" / "v.safetensors", fill=2)
    hashes = HashCache(tmp_path / "hashes.db")
    files = library(tmp_path, hashes)
    assert len(files.unhashed()) == 3
    with running(files, hashes):
        until(lambda: not files.unhashed())
        assert files.checkpoints.checkpoints()[0].sha256 == sha256(model)
        later = one_tensor(tmp_path / "models" / "later.safetensors", fill=3)
        until(lambda: files.checkpoints.find(sha256(later)) is not None)
    assert files.networks.networks()[0].short_hash is not None


def test_it_does_nothing_while_the_server_is_busy(tmp_path: Path) -> None:
    one_tensor(tmp_path / "models" / "a.safetensors")
    hashes = HashCache(tmp_path / "hashes.db")
    files, asked = library(tmp_path, hashes), threading.Event()
    busy = True

    def is_busy() -> bool:
        asked.set()
        return busy

    with running(files, hashes, is_busy):
        assert asked.wait(10)
        time.sleep(0.1)
        assert len(files.unhashed()) == 1
        busy = False
        until(lambda: not files.unhashed())


def test_it_pauses_within_a_file_for_who_waits_for_a_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = large(tmp_path / "models" / "a.safetensors")
    one_tensor(tmp_path / "models" / "b.safetensors")
    hashes = HashCache(tmp_path / "hashes.db")
    files = library(tmp_path, hashes)
    reading, go_on = threading.Event(), threading.Event()
    pieces: list[int] = []

    def slowly(bar: object, count: int) -> None:
        if threading.current_thread().name == "hashing":
            pieces.append(count)
            reading.set()
            assert go_on.wait(10)

    monkeypatch.setattr(tqdm, "update", slowly)
    with running(files, hashes):
        assert reading.wait(10)
        info = files.checkpoints.find("a")
        assert info is not None
        assert files.checkpoints.hash(info).sha256 == sha256(path)
        go_on.set()
        until(lambda: not files.unhashed())
    # of the large file one piece was read; the rest is what the bar, which stands still, is told
    size = path.stat().st_size
    assert pieces[:2] == [CHUNK_BYTES, size]


def test_it_ends_within_a_piece(tmp_path: Path) -> None:
    large(tmp_path / "models" / "a.safetensors")
    hashes = HashCache(tmp_path / "hashes.db")
    files = library(tmp_path, hashes)
    asked = 0

    def busy_later() -> bool:
        nonlocal asked
        asked += 1
        return asked > 5

    made = HashPass(files, hashes, busy=busy_later, quiet_seconds=0.001)
    made.start()
    until(lambda: asked > 6)
    made.stop()
    assert len(files.unhashed()) == 1
    assert not [each for each in threading.enumerate() if each.name == "hashing"]


def test_a_pass_that_never_began_can_be_ended(tmp_path: Path) -> None:
    hashes = HashCache(tmp_path / "hashes.db")
    HashPass(library(tmp_path, hashes), hashes, busy=lambda: False).stop()


def test_a_file_that_is_written_meanwhile_gets_no_hash(tmp_path: Path) -> None:
    path = large(tmp_path / "models" / "a.safetensors")
    hashes = HashCache(tmp_path / "hashes.db")
    files = library(tmp_path, hashes)
    stale = Stamp.of(path)
    assert stale is not None
    changes = iter(range(3))

    def busy() -> bool:
        if next(changes, None) == 1:
            os.utime(path, ns=(1, 1))
        return False

    with running(files, hashes, busy):
        until(lambda: hashes.get(path) is not None)
    assert hashes.told(path, stale) is None
    assert hashes.get(path) == sha256(path)
