"""Files are read once, and again when they change."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from models import folders
from models.folders import Found, Stamp
from models.watched import Viewed, Watched


class Reading:
    """Reads files as text, and tells which it was given."""

    def __init__(self) -> None:
        self.given: list[list[str]] = []

    def __call__(self, files: Sequence[Found]) -> list[str | None]:
        self.given.append([file.path.name for file in files])
        return [file.path.read_text() or None for file in files]


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_UNSETTLED_NS", -(10**18))


def texts(watched: Watched[str]) -> dict[str, str | None]:
    return {file.path.name: text for file, text in watched.look().items()}


def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("")
    reading = Reading()
    watched = Watched([tmp_path], endings=(".txt",), read=reading)
    seen = watched.look()
    assert texts(watched) == {"a.txt": "a", "b.txt": None}
    assert watched.look() is seen
    (tmp_path / "c.txt").write_text("c")
    assert list(texts(watched)) == ["a.txt", "b.txt", "c.txt"]
    (tmp_path / "a.txt").unlink()
    assert texts(watched) == {"b.txt": None, "c.txt": "c"}
    assert [given for given in reading.given if given] == [["a.txt", "b.txt"], ["c.txt"]]


def test_a_file_of_several_roots_is_read_once_and_stands_first(tmp_path: Path) -> None:
    (tmp_path / "z.txt").write_text("z")
    (tmp_path / "a.txt").write_text("a")
    reading = Reading()
    watched = Watched(
        [tmp_path, tmp_path], endings=(".txt",), read=reading, files=[tmp_path / "z.txt"]
    )
    assert list(texts(watched)) == ["z.txt", "a.txt"]
    assert reading.given == [["z.txt", "a.txt"]]


def test_what_is_written_in_place_is_seen_closely_or_after_a_recheck(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a")
    watched = Watched([tmp_path], endings=(".txt",), read=Reading())
    (found,) = watched.look()
    assert watched.recheck(path, found.stamp)
    path.write_text("longer")
    assert texts(watched) == {"a.txt": "a"}
    assert not watched.recheck(path, found.stamp)
    assert texts(watched) == {"a.txt": "longer"}
    path.write_text("longest")
    watched.look(closely=True)
    assert texts(watched) == {"a.txt": "longest"}


def test_a_file_of_its_own_is_looked_at_each_time(tmp_path: Path) -> None:
    path = tmp_path / "own.bin"
    path.write_text("1")
    watched = Watched([], endings=(), read=Reading(), files=[path])
    assert texts(watched) == {"own.bin": "1"}
    path.write_text("22")
    assert texts(watched) == {"own.bin": "22"}
    assert [file.stamp for file in watched.look()] == [Stamp.of(path)]


def viewed(folder: Path, reading: Reading, version: Callable[[], int]) -> Viewed[str, list[Found]]:
    """The files that hold something."""
    watched = Watched([folder], endings=(".txt",), read=reading)

    def make(files: Mapping[Found, str | None]) -> list[Found]:
        return [file for file, text in files.items() if text]

    return Viewed(watched, make, [], version=version)


def test_a_view_is_made_anew_when_files_or_the_version_change(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    versions = [0]
    view = viewed(tmp_path, Reading(), lambda: versions[0])
    assert (view.begun, view.latest) == (False, [])
    first = view.now()
    assert [file.path.name for file in first] == ["a.txt"]
    assert view.now() is view.latest is first
    versions[0] = 1
    assert view.now() == first
    assert view.latest is not first
    (tmp_path / "b.txt").write_text("b")
    assert [file.path.name for file in view.now()] == ["a.txt", "b.txt"]


def test_what_is_found_is_as_its_file_is_now(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a")
    view = viewed(tmp_path, Reading(), lambda: 0)
    before = view.find(lambda files: files[0])
    path.write_text("longer")
    assert view.find(lambda files: files[0], lambda _: False) == before
    found = view.find(lambda files: files[0])
    assert found != before
    assert found == Found(path, Stamp.of(path))
    path.write_text("")
    assert view.find(lambda files: next(iter(files), None)) is None
