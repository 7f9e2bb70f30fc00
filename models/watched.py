"""Files of some folders and what is known of each, kept up to date cheaply; torch-free."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Generic, TypeVar

from .folders import Found, Stamp, Tree

T = TypeVar("T")

#: what was read of each of the files given; None for what cannot be used
Reader = Callable[[Sequence[Found]], Sequence[T | None]]


class Watched(Generic[T]):
    """Reads each file once, and again when it has changed; safe for several threads.

    `files` are looked at each time, whatever their names; then come the trees below `roots`, as
    `Tree` lists them.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        *,
        endings: Sequence[str],
        read: Reader[T],
        files: Sequence[Path] = (),
    ) -> None:
        """Nothing is looked at yet; `read` is given all that is new at once."""
        self._trees = tuple(Tree(root, endings) for root in roots)
        self._files = tuple(files)
        self._read = read
        self._listed: tuple[tuple[Found, ...], ...] | None = None
        self._seen: Mapping[Found, T | None] = MappingProxyType({})
        self._lock = threading.Lock()

    def look(self, *, closely: bool = False) -> Mapping[Found, T | None]:
        """Give the files in order; the same mapping while nothing has changed.

        What is written in place changes no folder: it is seen when `closely`, or after `recheck`.
        """
        with self._lock:
            if closely:
                for tree in self._trees:
                    tree.forget()
            named = tuple(Found(path, Stamp.of(path)) for path in self._files)
            listed = (named, *(tree.look() for tree in self._trees))
            if listed != self._listed:
                self._seen = self._up_to_date([file for files in listed for file in files])
                self._listed = listed
            return self._seen

    def recheck(self, path: Path, stamp: Stamp | None) -> bool:
        """Whether the file still has this stamp; if not, the next look sees how it is now."""
        if Stamp.of(path) == stamp:
            return True
        with self._lock:
            for tree in self._trees:
                tree.forget(path.parent)
        return False

    def _up_to_date(self, files: Sequence[Found]) -> Mapping[Found, T | None]:
        """What is known of `files`; those that are new are read."""
        known = dict(self._seen)
        new = list(dict.fromkeys(file for file in files if file not in known))
        known.update(zip(new, self._read(new), strict=True))
        return MappingProxyType({file: known[file] for file in files})
