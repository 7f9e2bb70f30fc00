"""Folders of weights as users have them: walked in natural order, links followed; torch-free."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


def walk(folder: Path, ancestors: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Yield a tree's files in natural order, a folder's own before its subfolders'.

    Links are followed, as users link whole model folders in; a link back up is not.
    """
    real = os.path.realpath(folder)
    if real in ancestors:
        return
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: natural(entry.name))
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("folder skipped", path=printable(folder), reason=error.strerror)
        return
    subfolders: list[Path] = []
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if os.path.isdir(entry):
            subfolders.append(entry)
        else:
            yield entry
    for subfolder in subfolders:
        yield from walk(subfolder, ancestors | {real})


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key: case aside, and numbers by value (`v2` before `v10`)."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part)
        for part in re.split(r"(\d+)", name.casefold())
    ]


def printable(path: Path) -> str:
    """The path as text; what is not UTF-8 in it is replaced."""
    return os.fsencode(path).decode("utf-8", "replace")


def is_text(path: Path) -> bool:
    """Whether the path is UTF-8, so that it can be a name on the wire."""
    return os.fsencode(path) == printable(path).encode()
