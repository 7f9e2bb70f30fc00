"""The face of a source picture, looked for once for as long as it is asked for again."""

import hashlib
import threading
from collections.abc import Hashable
from typing import Any

from cachetools import LRUCache
from PIL.Image import Image

from ..protocol import Workshop

_KEPT = 64
"""Pictures whose face is known; a face takes some kilobytes."""


class KnownFaces:
    """The leftmost faces of the pictures seen last; for any number of threads."""

    def __init__(self) -> None:
        """None is known yet."""
        self._faces: LRUCache[Hashable, Any] = LRUCache(_KEPT)
        self._lock = threading.Lock()

    def of(self, workshop: Workshop, picture: Image) -> Any:
        """The leftmost face of an RGB picture, or None. Raises Missing."""
        key = (_content(picture), _analyser(workshop))
        with self._lock:
            if key in self._faces:
                return self._faces[key]
        # two who ask at once may both look, which does no harm
        face = next(iter(workshop.faces(picture)), None)
        with self._lock:
            self._faces[key] = face
        return face


def source_face(workshop: Workshop, picture: Image) -> Any:
    """The leftmost face of an RGB picture, or None. Raises Missing."""
    known: KnownFaces = workshop.session(("roop", "known faces"), (), KnownFaces)
    return known.of(workshop, picture)


def _content(picture: Image) -> Hashable:
    return picture.size, hashlib.sha256(picture.tobytes()).digest()


def _analyser(workshop: Workshop) -> Hashable:
    """Which files the faces are found with: embeddings of different models do not agree."""
    stats = [(path, path.stat()) for path in workshop.weights("insightface").values()]
    return tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats)
