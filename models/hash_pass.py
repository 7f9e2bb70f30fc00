"""A thread that hashes, while nobody draws, the files whose hash nobody has needed yet."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Never

import structlog
from tqdm import tqdm

from .folders import Stamp
from .hashing import HashCache, Unhashed
from .library import Library

log = structlog.get_logger(__name__)

QUIET_SECONDS = 60.0
_LOOK_SECONDS = 0.5
_NICEST = 19


class HashPass:
    """Hashes the files of a library one by one once the server has been quiet for a while.

    It stops at a piece of a file while `busy`, or while somebody waits for a hash, and goes on when
    it is quiet again; then it looks for new files. On a terminal a bar shows how far it is.
    """

    def __init__(
        self,
        library: Library,
        hashes: HashCache,
        *,
        busy: Callable[[], bool],
        quiet_seconds: float = QUIET_SECONDS,
    ) -> None:
        """`busy` is asked often, and from another thread."""
        self._library = library
        self._hashes = hashes
        self._busy = busy
        self._quiet_seconds = quiet_seconds
        self._failed: frozenset[tuple[Path, Stamp]] = frozenset()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hashing", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End within a piece of a file; what is not finished is begun anew another time."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        _be_nice()
        while self._wait_for_quiet():
            waiting = self._waiting()
            if waiting:
                try:
                    self._hash_all(waiting)
                except _Stopped:
                    return
            elif self._stopping.wait(self._quiet_seconds):
                return

    def _waiting(self) -> list[Unhashed]:
        files: dict[Path, Unhashed] = {}
        for each in self._library.unhashed():
            # one that is being written waits until it is listed anew
            if (each.path, each.stamp) not in self._failed and Stamp.of(each.path) == each.stamp:
                files.setdefault(each.path, each)
        return list(files.values())

    def _hash_all(self, files: Sequence[Unhashed]) -> None:
        """Hash files; raises _Stopped."""
        size = sum(file.stamp.size for file in files)
        log.info("hashing in the background", files=len(files), bytes=size)
        started, done = time.monotonic(), 0
        with tqdm(
            total=size, desc="hashing models", unit="B", unit_scale=True, delay=1, disable=None
        ) as bar:
            for file in files:
                done += self._hash(file, bar)
        seconds = round(time.monotonic() - started, 1)
        log.info("hashed in the background", files=done, seconds=seconds)

    def _hash(self, file: Unhashed, bar: "tqdm[Never]") -> bool:
        """Hash a file and store the hash; whether it was. Raises _Stopped."""
        before = bar.n

        def on_bytes(count: int) -> None:
            bar.update(count)
            if self._wanted_elsewhere() and not self._wait_for_quiet():
                raise _Stopped
            if self._hashes.told(file.path, file.stamp, file.fact) is not None:
                raise _Known

        try:
            digest = file.read(file.path, on_bytes)
        except _Known:
            bar.update(file.stamp.size - (bar.n - before))
            return False
        except OSError as error:
            self._failed |= {(file.path, file.stamp)}
            log.warning("not hashed", path=str(file.path), reason=error.strerror)
            return False
        if Stamp.of(file.path) != file.stamp:
            return False
        self._hashes.put(file.path, file.stamp, digest, file.fact)
        return True

    def _wanted_elsewhere(self) -> bool:
        return self._stopping.is_set() or self._hashes.urgent or self._busy()

    def _wait_for_quiet(self) -> bool:
        """Return once it has been quiet for a while; whether to go on then."""
        quiet_since = time.monotonic()
        while not self._stopping.is_set():
            now = time.monotonic()
            if self._wanted_elsewhere():
                quiet_since = now
            elif now - quiet_since >= self._quiet_seconds:
                return True
            self._stopping.wait(min(_LOOK_SECONDS, self._quiet_seconds))
        return False


class _Stopped(Exception):
    """The pass is to end."""


class _Known(Exception):
    """Somebody else came by the hash in the meantime."""


def _be_nice() -> None:
    """Let other threads go first, where the system knows threads by number (Linux)."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICEST)
    except (AttributeError, OSError) as error:
        log.debug("the priority of hashing stays", reason=repr(error))
