"""Conditioning of prompts that were asked for of late: most jobs share one, if not both."""

import threading
from collections.abc import Hashable

from cachetools import LRUCache

from .steps import Conditioning, Encode

#: bytes on the device: some 270 prompts of SD1, 100 of SDXL
_BYTES = 64 << 20


class Remembered:
    """The newest conditionings, by model and by everything that makes them; for several threads."""

    def __init__(self, size: int = _BYTES) -> None:
        """Keep at most `size` bytes."""
        self._lock = threading.Lock()
        self._found: LRUCache[Hashable, Conditioning] = LRUCache(size, getsizeof=_bytes)

    def find(self, model: Hashable, wanted: Encode) -> Conditioning | None:
        """What was kept of that; the model is `ModelChoice.text_key`."""
        with self._lock:
            return self._found.get(_key(model, wanted))

    def keep(self, model: Hashable, wanted: Encode, told: Conditioning) -> None:
        """Keep it, unless it is larger than all that may be kept."""
        with self._lock:
            if _bytes(told) <= self._found.maxsize:
                self._found[_key(model, wanted)] = told

    def forget(self) -> None:
        """Let go of all."""
        with self._lock:
            self._found.clear()


def _key(model: Hashable, wanted: Encode) -> Hashable:
    return model, wanted.texts, wanted.empty, wanted.encoding, wanted.numbers, wanted.nothing


def _bytes(told: Conditioning) -> int:
    vector = 0 if told.vector is None else told.vector.nbytes
    return int(told.context.nbytes + vector)
