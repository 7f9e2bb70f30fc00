"""Extensions that do not ship with the server: from a folder, and from installed packages."""

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import structlog

from .protocol import Extension
from .registry import find, guarded

log = structlog.get_logger(__name__)

GROUP = "darkroom.extensions"
"""The entry points of packages: each names an `Extension`."""

ALL = "*"
_EXPORT = "EXTENSION"


def discovered(
    built_in: Sequence[Extension], folder: Path | None, allowed: Sequence[str]
) -> tuple[Extension, ...]:
    """`built_in`, and behind them those from outside that may be loaded, in the order of `allowed`.

    `allowed` has names of modules in `folder` and of entry points, or `ALL`; empty, it stands for
    every module of the folder and no package. Nothing else is imported. One that cannot be loaded,
    or has the title of another, is left out and logged.
    """
    there = dict([*_modules(folder), *_packages(allowed)])
    wanted = allowed or (ALL,)
    names = dict.fromkeys(
        name for each in wanted for name in (sorted(there) if each == ALL else [each])
    )
    extensions = list(built_in)
    for name in names:
        if name not in there:
            log.warning("no such extension", name=name, there=sorted(there))
            continue
        extension, failure = guarded(name, _load, there[name])
        if failure is None and find(extension.title, extensions) is not None:
            failure = f"an extension with the title {extension.title!r} is there already"
        if failure is None:
            extensions.append(extension)
            log.info("extension loaded", name=name, title=extension.title)
        else:
            log.warning("extension left out", name=name, reason=failure)
    return tuple(extensions)


def _modules(folder: Path | None) -> Iterator[tuple[str, Path | EntryPoint]]:
    """The modules and packages of a folder that are Python, by their names."""
    if folder is None or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.suffix == ".py" and path.stem.isidentifier():
            yield path.stem, path
        elif (path / "__init__.py").is_file() and path.name.isidentifier():
            yield path.name, path / "__init__.py"


def _packages(allowed: Sequence[str]) -> Iterator[tuple[str, Path | EntryPoint]]:
    if allowed:
        for entry in entry_points(group=GROUP):
            yield entry.name, entry


def _load(place: Path | EntryPoint) -> Extension:
    found: Any = place.load() if isinstance(place, EntryPoint) else _imported(place)
    if isinstance(found, ModuleType):
        found = getattr(found, _EXPORT, None)
    if not isinstance(found, Extension):
        raise TypeError(f"{place}: {_EXPORT} is not an Extension")
    return found


def _imported(file: Path) -> ModuleType:
    """The module of a file, under a name that no other package has."""
    stem = file.parent.name if file.name == "__init__.py" else file.stem
    name = f"darkroom_extension_{stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python module")
    module = importlib.util.module_from_spec(spec)
    # so that the parts of a package find one another
    sys.modules[name] = module
    with ExitStack() as undone:
        undone.callback(sys.modules.pop, name, None)
        spec.loader.exec_module(module)
        undone.pop_all()
    return module
