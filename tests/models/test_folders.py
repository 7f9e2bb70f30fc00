"""Trees of files: order, links, and what is noticed without looking at every file."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from models import folders
from models.folders import Stamp, Tree

ENDINGS = (".safetensors", ".ckpt")


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(tree: Tree, root: Path) -> list[str]:
    return [file.path.relative_to(root).as_posix() for file in tree.look()]


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust every folder's time stamps at once."""
    monkeypatch.setattr(folders, "_UNSETTLED_NS", -(10**18))


class Counted:
    """How many folders were listed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.listed: list[str] = []
        scandir = os.scandir

        def counting(path: str) -> Iterator[os.DirEntry[str]]:
            self.listed.append(Path(path).name)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", counting)


def test_files_come_in_natural_order_with_subfolders_after(tmp_path: Path) -> None:
    put(tmp_path, "v10.ckpt", "v2.CKPT", "a/x.safetensors", "B.ckpt", "b.ckpt", "10/y.ckpt")
    put(tmp_path, "2/z.ckpt", "notes.txt", ".hid.ckpt", ".h/a.ckpt", "ckpt", "x.ckpt.tmp")
    assert names(Tree(tmp_path, ENDINGS), tmp_path) == [
        "B.ckpt",
        "b.ckpt",
        "v2.CKPT",
        "v10.ckpt",
        "2/z.ckpt",
        "10/y.ckpt",
        "a/x.safetensors",
    ]


def test_nothing_is_listed_twice_while_nothing_changes(
    tmp_path: Path, settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a.ckpt", "sub/b.ckpt", "other/c.ckpt")
    counted, tree = Counted(monkeypatch), Tree(tmp_path, ENDINGS)
    first = tree.look()
    assert len(counted.listed) == 3
    counted.listed.clear()
    assert tree.look() is first
    assert counted.listed == []
    put(tmp_path, "sub/new.ckpt")
    assert names(tree, tmp_path) == ["a.ckpt", "other/c.ckpt", "sub/b.ckpt", "sub/new.ckpt"]
    assert counted.listed == ["sub"]
    (tmp_path / "a.ckpt").unlink()
    assert "a.ckpt" not in names(tree, tmp_path)


def test_a_folder_that_has_just_changed_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a.ckpt")
    tree, told = Tree(tmp_path, ENDINGS), tmp_path.stat()
    first = tree.look()
    assert tree.look() is first
    # a second change within the same tick of the clock
    put(tmp_path, "b.ckpt")
    os.utime(tmp_path, ns=(told.st_atime_ns, told.st_mtime_ns))
    assert names(tree, tmp_path) == ["a.ckpt", "b.ckpt"]


def test_folders_that_come_and_go(tmp_path: Path, settled: None) -> None:
    tree = Tree(tmp_path / "later", ENDINGS)
    assert tree.look() == ()
    put(tmp_path, "later/deep/a.ckpt")
    assert names(tree, tmp_path) == ["later/deep/a.ckpt"]
    (tmp_path / "later").rename(tmp_path / "gone")
    assert tree.look() == ()


def test_a_file_in_the_place_of_another_is_another(tmp_path: Path, settled: None) -> None:
    put(tmp_path, "a.ckpt", "new")
    tree = Tree(tmp_path, ENDINGS)
    (before,) = tree.look()
    (tmp_path / "new").write_bytes(b"other")
    (tmp_path / "new").rename(tmp_path / "a.ckpt")
    (after,) = tree.look()
    assert (before.stamp, after.stamp) == (
        Stamp(1, before.stamp.mtime_ns if before.stamp else 0),
        Stamp.of(tmp_path / "a.ckpt"),
    )
    assert before != after


def test_what_is_written_in_place_is_seen_when_it_is_forgotten(
    tmp_path: Path, settled: None
) -> None:
    put(tmp_path, "sub/a.ckpt", "sub/b.ckpt")
    tree = Tree(tmp_path, ENDINGS)
    first = tree.look()
    with (tmp_path / "sub/a.ckpt").open("ab") as file:
        file.write(b"more")
    assert tree.look() is first
    tree.forget(tmp_path / "sub")
    sizes = [file.stamp.size for file in tree.look() if file.stamp]
    assert sizes == [5, 1]
    tree.forget(tmp_path / "elsewhere")
    tree.forget()
    assert [file.stamp.size for file in tree.look() if file.stamp] == sizes


def test_links_are_followed_but_not_round_and_round(tmp_path: Path) -> None:
    put(tmp_path, "far/x.ckpt", "far/deep/y.ckpt", "root/a.ckpt")
    (tmp_path / "root/linked").symlink_to(tmp_path / "far")
    (tmp_path / "far/deep/back").symlink_to(tmp_path / "root")
    (tmp_path / "root/self").symlink_to(tmp_path / "root")
    (tmp_path / "root/file.ckpt").symlink_to(tmp_path / "far/x.ckpt")
    (tmp_path / "root/loop").symlink_to(tmp_path / "root/pool")
    (tmp_path / "root/pool").symlink_to(tmp_path / "root/loop")
    found = names(Tree(tmp_path / "root", ENDINGS), tmp_path / "root")
    assert found == ["a.ckpt", "file.ckpt", "linked/x.ckpt", "linked/deep/y.ckpt"]


def test_a_maze_of_links_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_MOST_FOLDERS", 100)
    for level in range(30):
        (tmp_path / str(level)).mkdir()
        put(tmp_path / str(level), "x.ckpt")
        if level:
            for name in ("one", "two"):
                (tmp_path / str(level - 1) / name).symlink_to(tmp_path / str(level))
    with capture_logs() as logs:
        assert len(Tree(tmp_path / "0", ENDINGS).look()) == 100
    assert [log["event"] for log in logs] == ["folders skipped"]


def test_pipes_and_dead_links_have_no_stamp_and_are_not_opened(tmp_path: Path) -> None:
    put(tmp_path, "good.ckpt")
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "dead.ckpt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "device.ckpt").symlink_to("/dev/zero")
    (tmp_path / "round.ckpt").symlink_to(tmp_path / "round.ckpt")
    started = time.monotonic()
    stamps = {file.path.name: file.stamp for file in Tree(tmp_path, ENDINGS).look()}
    assert time.monotonic() - started < 5
    good = stamps.pop("good.ckpt")
    assert good is not None
    assert good.size == 1
    assert stamps == dict.fromkeys(
        ("dead.ckpt", "device.ckpt", "pipe.safetensors", "round.ckpt"), None
    )
    assert Stamp.of(tmp_path / "pipe.safetensors") is None
    assert Stamp.of(Path("a\0b")) is None


def test_a_folder_that_cannot_be_read_costs_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a.ckpt", "shut/b.ckpt")
    scandir = os.scandir

    def refusing(path: str) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    tree = Tree(tmp_path, ENDINGS)
    with capture_logs() as logs:
        assert names(tree, tmp_path) == names(tree, tmp_path) == ["a.ckpt"]
    assert [(log["event"], log["reason"]) for log in logs] == [
        ("folder skipped", "Permission denied")
    ]
    monkeypatch.setattr(os, "scandir", scandir)
    assert names(tree, tmp_path) == ["a.ckpt", "shut/b.ckpt"]


def test_folders_need_no_torch() -> None:
    program = (
        "import sys, models.library, models.hash_pass, models.webui_cache, models.tool_files;"
        "print('torch' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "False\n"
