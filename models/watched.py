"""Files of some folders and what is known of each, kept up to date cheaply; torch-free."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from .folders import Found, Stamp, Tree

T = TypeVar("T")
View = TypeVar("View")

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


class Listed(Protocol):
    """What a view lists: a file as it was when the view was made."""

    @property
    def path(self) -> Path: ...

    @property
    def stamp(self) -> Stamp | None: ...


Entry = TypeVar("Entry", bound=Listed)


class Viewed(Generic[T, View]):
    """A view of watched files as a whole, made anew when they have changed.

    Safe for several threads: each look-up sees one view.
    """

    def __init__(
        self,
        files: Watched[T],
        make: Callable[[Mapping[Found, T | None]], View],
        empty: View,
        *,
        version: Callable[[], int] = lambda: 0,
    ) -> None:
        """`version` counts the changes of what else `make` looks at; nothing is made yet."""
        self._files = files
        self._make = make
        self._version = version
        self._made: tuple[Mapping[Found, T | None] | None, int, View] = None, -1, empty

    @property
    def begun(self) -> bool:
        """Whether a view was made."""
        return self._made[0] is not None

    @property
    def latest(self) -> View:
        """The view that was made last, without a look at the files."""
        return self._made[2]

    def now(self, *, closely: bool = False) -> View:
        """The view of the files as they are now; `closely` as `Watched.look` means it."""
        files, version = self._files.look(closely=closely), self._version()
        seen, known, view = self._made
        if seen is not files or known != version:
            view = self._make(files)
            self._made = files, version, view
        return view

    def find(
        self,
        look_up: Callable[[View], Entry | None],
        is_file: Callable[[Entry], bool] = lambda _: True,
    ) -> Entry | None:
        """What `look_up` finds; found anew where that file was written since the folders changed.

        What is no file of its own is taken as it is.
        """
        found = look_up(self.now())
        if found is None or not is_file(found) or self._files.recheck(found.path, found.stamp):
            return found
        return look_up(self.now())
