"""Files are read once, and again when they change."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from models import folders
from models.folders import Found, Stamp
from models.watched import Watched


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
