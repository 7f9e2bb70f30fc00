"""Opened models of tools, kept within a budget of bytes; torch-free."""

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import structlog
from cachetools import LRUCache

from .folders import Found, Stamp
from .onnx_file import read_onnx

log = structlog.get_logger(__name__)

T = TypeVar("T")

_WITHOUT_FILES = 2**18
"""Bytes that count for what is of no file, such as the faces of a picture: so that it goes too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """What was opened, and the files as they were just before."""

    files: tuple[Found, ...]
    given: Any

    @property
    def size(self) -> int:
        """Bytes of its files, which stand for those that it takes."""
        sizes = [file.stamp.size for file in self.files if file.stamp is not None]
        return sum(sizes) or _WITHOUT_FILES


@dataclass(slots=True, eq=False)
class _Opening:
    """An opening under way; who has its lock opens, who waits for it finds what came of it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    askers: int = 0
    opened: _Opened | None = None


class SessionCache:
    """Keeps what was opened last within a budget; for any number of threads.

    What is dropped lives on for as long as somebody works with it.
    """

    def __init__(self, budget_bytes: int) -> None:
        """Nothing is kept yet. A model counts as many bytes as its files."""
        self._kept: LRUCache[Hashable, _Opened] = LRUCache(budget_bytes, lambda it: it.size)
        self._openings: dict[tuple[Hashable, tuple[Found, ...]], _Opening] = {}
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """Bytes of what is kept."""
        with self._lock:
            return int(self._kept.currsize)

    def get(self, key: Hashable, files: Sequence[Path], open: Callable[[], T]) -> T:
        """What is kept under `key`; else, or if one of its files has changed, what `open` gives.

        It is called once for all who ask meanwhile; if it raises, nothing changes, and the next of
        them tries. What is larger than the budget is not kept. Raises what `open` raises, and
        CorruptCheckpoint for an ONNX file that `read_onnx` refuses.
        """
        now = tuple(Found(path, Stamp.of(path)) for path in files)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept.files == now:
                given: T = kept.given
                return given
            opening = self._openings.setdefault((key, now), _Opening())
            opening.askers += 1
        try:
            with opening.lock:
                if opening.opened is None:
                    opening.opened = _opened(now, open)
                    self._keep(key, opening.opened)
            given = opening.opened.given
            return given
        finally:
            with self._lock:
                opening.askers -= 1
                if not opening.askers:
                    del self._openings[key, now]

    def clear(self) -> None:
        """Keep nothing more of what is kept now."""
        with self._lock:
            self._kept.clear()

    def _keep(self, key: Hashable, opened: _Opened) -> None:
        with self._lock:
            # what was there is of files that have changed
            self._kept.pop(key, None)
            if opened.size <= self._kept.maxsize:
                self._kept[key] = opened


def _opened(files: tuple[Found, ...], open: Callable[[], Any]) -> _Opened:
    began = time.monotonic()
    for file in files:
        if file.path.suffix.lower() == ".onnx" and file.stamp is not None:
            read_onnx(file.path)
    opened = _Opened(files=files, given=open())
    log.info(
        "session opened",
        files=[file.path.name for file in files],
        size=opened.size,
        seconds=round(time.monotonic() - began, 3),
    )
    return opened
