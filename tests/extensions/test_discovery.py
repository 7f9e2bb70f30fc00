"""Extensions from a folder and from packages: what is named is loaded, in order, and no other."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from extensions import discovery
from extensions.discovery import discovered
from extensions.registry import EXTENSIONS

CODE = """
from dataclasses import dataclass
from extensions.protocol import Extension, Hook

@dataclass(frozen=True)
class Args:
    pass

EXTENSION = Extension(
    title={title!r}, modes=("txt2img",), args=Args, begin=lambda host, wanted, args: Hook()
)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "zebra.py").write_text(CODE.format(title="Zebra"))
    (tmp_path / "apple").mkdir()
    (tmp_path / "apple" / "__init__.py").write_text("from .core import EXTENSION")
    (tmp_path / "apple" / "core.py").write_text(CODE.format(title="Apple"))
    (tmp_path / "not-a-module.py").write_text("raise SystemExit")
    (tmp_path / "notes.txt").write_text("nothing")
    return tmp_path


def titles(folder: Path | None, *allowed: str) -> list[str]:
    """Of the extensions from outside."""
    found = discovered(EXTENSIONS, folder, allowed)
    assert found[: len(EXTENSIONS)] == EXTENSIONS
    return [each.title for each in found[len(EXTENSIONS) :]]


def test_a_folder_is_loaded_by_name(folder: Path) -> None:
    assert titles(folder) == ["Apple", "Zebra"]
    assert titles(None) == []
    assert titles(folder / "absent") == []


def test_only_what_is_allowed_is_imported_in_that_order(folder: Path) -> None:
    (folder / "evil.py").write_text("raise SystemExit('imported')")
    assert titles(folder, "zebra", "apple", "absent") == ["Zebra", "Apple"]
    assert titles(folder, "zebra") == ["Zebra"]


@pytest.mark.parametrize(
    "code",
    ["raise ValueError('no')", "import no_such_package", "EXTENSION = 5", "", "EXTENSION ="],
)
def test_one_that_cannot_be_loaded_keeps_none_from_theirs(folder: Path, code: str) -> None:
    (folder / "bad.py").write_text(code)
    assert titles(folder) == ["Apple", "Zebra"]


def test_a_title_that_is_taken_stays_whose_it_is(folder: Path) -> None:
    (folder / "mine.py").write_text(CODE.format(title="ROOP"))
    (folder / "zoo.py").write_text(CODE.format(title="zebra"))
    assert titles(folder) == ["Apple", "Zebra"]


def test_packages_are_loaded_by_name_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(folder))
    entries = [EntryPoint("fruit", "apple:EXTENSION", discovery.GROUP)]
    monkeypatch.setattr(discovery, "entry_points", lambda group: entries)
    assert titles(None) == []
    assert titles(None, "fruit") == ["Apple"]
    assert titles(None, "*") == ["Apple"]
