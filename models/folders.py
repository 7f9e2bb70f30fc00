"""Folders of weights as users have them, listed anew only where they changed; torch-free."""

import os
import re
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import structlog

log = structlog.get_logger(__name__)

#: a folder that changed so lately may change again under the same time stamp (FAT's are 2 s)
_UNSETTLED_NS = 2_000_000_000
#: links can make a small tree endless; no user has as many
_MOST_FOLDERS = 20_000
_DEEPEST = 64
_DIGITS = re.compile(r"(\d+)")


class Stamp(NamedTuple):
    """What tells one state of a file from another: its size, and when it was written."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> "Stamp | None":
        """The stamp of the file as it is now; None for what is no regular file, or is not there."""
        try:
            return cls.told_by(os.stat(path))
        except (OSError, ValueError):
            return None

    @classmethod
    def told_by(cls, told: os.stat_result) -> "Stamp | None":
        """The stamp of a file that was looked at already."""
        return cls(told.st_size, told.st_mtime_ns) if stat.S_ISREG(told.st_mode) else None


@dataclass(frozen=True, slots=True)
class Found:
    """A file as it was when its folder was listed.

    Without a stamp it cannot be read: a link to nothing, a pipe, a device.
    """

    path: Path
    stamp: Stamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Folder:
    """A folder's own content; `changed` and `identity` say when it was, and which folder."""

    identity: tuple[int, int]
    changed: tuple[int, int]
    files: tuple[Found, ...] = ()
    subfolders: tuple[Path, ...] = ()
    settled: bool = field(default=True, compare=False)


class Tree:
    """The files below a folder whose names end in one of `endings`, whatever their case.

    In natural order, a folder's own before its subfolders'. Links to files and folders are
    followed, as users link whole model folders in; a link back up is not. What is neither a file
    nor a folder is found without being opened. Not safe for several threads.
    """

    def __init__(self, root: Path, endings: Sequence[str]) -> None:
        """Nothing is looked at yet; `root` need not be there."""
        self._root = root
        self._endings = tuple(ending.lower() for ending in endings)
        self._folders: dict[Path, _Folder] = {}
        self._files: tuple[Found, ...] = ()

    def look(self) -> tuple[Found, ...]:
        """Give the files: at the price of one `stat` a folder where nothing has changed.

        Then the same tuple comes back. A file that is written in place changes no folder: see
        `forget`.
        """
        folders = dict(self._walk())
        if folders != self._folders:
            self._files = tuple(file for folder in folders.values() for file in folder.files)
        self._folders = folders
        return self._files

    def forget(self, folder: Path | None = None) -> None:
        """Have `folder`, or all of them, listed anew at the next look."""
        for path in list(self._folders) if folder is None else [folder]:
            known = self._folders.get(path)
            if known is not None:
                self._folders[path] = replace(known, settled=False)

    def _walk(self) -> Iterator[tuple[Path, _Folder]]:
        waiting: list[tuple[Path, frozenset[tuple[int, int]]]] = [(self._root, frozenset())]
        count = 0
        while waiting:
            path, above = waiting.pop()
            folder = self._folder(path)
            if folder is None or folder.identity in above:
                continue
            count += 1
            if count > _MOST_FOLDERS:
                log.warning("folders skipped", path=printable(self._root), most=_MOST_FOLDERS)
                return
            yield path, folder
            if len(above) < _DEEPEST:
                inside = above | {folder.identity}
                waiting.extend((each, inside) for each in reversed(folder.subfolders))

    def _folder(self, path: Path) -> _Folder | None:
        """The folder as it is known, where it has not changed since, or listed now."""
        known = self._folders.get(path)
        try:
            told = os.stat(path)
            identity, changed = (told.st_dev, told.st_ino), (told.st_mtime_ns, told.st_ctime_ns)
            same = known is not None and (known.identity, known.changed) == (identity, changed)
            if known is not None and known.settled and same:
                return known
            settled = max(changed) < time.time_ns() - _UNSETTLED_NS
            files, subfolders = self._listed(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            failed = _Folder(identity=(0, 0), changed=(error.errno or 0, 0), settled=False)
            if known != failed:
                log.warning("folder skipped", path=printable(path), reason=error.strerror)
            return failed
        return _Folder(
            identity=identity,
            changed=changed,
            files=files,
            subfolders=subfolders,
            settled=settled,
        )

    def _listed(self, path: Path) -> tuple[tuple[Found, ...], tuple[Path, ...]]:
        """The wanted files of a folder, and its subfolders. Raises OSError."""
        files: list[Found] = []
        subfolders: list[Path] = []
        with os.scandir(path) as entries:
            named = sorted(entries, key=lambda entry: (natural(entry.name), entry.name))
        for entry in named:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                subfolders.append(path / entry.name)
            elif entry.name.lower().endswith(self._endings):
                files.append(Found(path / entry.name, _stamp(entry)))
        return tuple(files), tuple(subfolders)


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key: case aside, and numbers by value (`v2` before `v10`)."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part)
        for part in _DIGITS.split(name.casefold())
    ]


def printable(path: Path) -> str:
    """The path as text; what is not UTF-8 in it is replaced."""
    return os.fsencode(path).decode("utf-8", "replace")


def is_text(path: Path) -> bool:
    """Whether the path is UTF-8, so that it can be a name on the wire."""
    return os.fsencode(path) == printable(path).encode()


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # a link that leads round and round
        return False


def _stamp(entry: "os.DirEntry[str]") -> Stamp | None:
    try:
        return Stamp.told_by(entry.stat())
    except OSError:
        return None
