"""Which files of the folders may be embeddings."""

import os
from pathlib import Path

from models.embeddings.files import find_files


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(*folders: Path) -> list[str]:
    return [str(file.path.relative_to(folders[0].parent)) for file in find_files(folders)]


def test_files_of_the_known_kinds_are_found_in_all_folders(tmp_path: Path) -> None:
    put(tmp_path / "one", "v10.pt", "v2.BIN", "deep/er/c.safetensors", "d.png", "e.webp", "f.avif")
    put(tmp_path / "one", "notes.txt", "g.jpg", ".hidden.pt", ".git/h.pt", "noending")
    put(tmp_path / "two", "i.PT")
    assert names(tmp_path / "one", tmp_path / "two", tmp_path / "missing") == [
        "one/d.png",
        "one/e.webp",
        "one/f.avif",
        "one/v2.BIN",
        "one/v10.pt",
        "one/deep/er/c.safetensors",
        "two/i.PT",
    ]


def test_previews_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, "a.pt", "a.png", "a.preview.png", "b.preview.png", "b.Preview.webp", "c.png")
    put(tmp_path, "sub/a.png")
    assert [file.path.name for file in find_files([tmp_path])] == ["a.pt", "c.png", "a.png"]


def test_empty_files_and_dead_links_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, "a.pt")
    (tmp_path / "b.pt").touch()
    (tmp_path / "c.pt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "d.pt").symlink_to(tmp_path / "a.pt")
    assert [file.path.name for file in find_files([tmp_path])] == ["a.pt", "d.pt"]


def test_a_changed_file_is_another(tmp_path: Path) -> None:
    put(tmp_path, "a.pt")
    (before,) = find_files([tmp_path])
    assert find_files([tmp_path]) == [before]
    os.utime(tmp_path / "a.pt", ns=(1, before.mtime_ns + 1))
    (touched,) = find_files([tmp_path])
    assert touched != before
    (tmp_path / "a.pt").write_bytes(b"xy")
    os.utime(tmp_path / "a.pt", ns=(1, touched.mtime_ns))
    assert find_files([tmp_path]) != [touched]
