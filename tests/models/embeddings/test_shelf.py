"""The embeddings of some folders: read once, read again when they change."""

import os
from pathlib import Path

import pytest
import torch
from structlog.testing import capture_logs

from models.embeddings.files import EmbeddingFile
from models.embeddings.reading import read_embedding
from models.embeddings.shelf import EmbeddingShelf
from models.families.tokenizer import ClipTokenizer

from .made import TINY, VECTORS, pickled, trained


def put(path: Path, vectors: torch.Tensor = VECTORS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickled(trained(vectors)))


def names(shelf: EmbeddingShelf) -> list[str]:
    return [each.name for each in shelf.embeddings()]


def test_the_folders_embeddings_by_name(tmp_path: Path) -> None:
    for name in ("one/b.pt", "one/sub/A.pt", "two/c.pt"):
        put(tmp_path / name)
    shelf = EmbeddingShelf([tmp_path / "one", tmp_path / "two", tmp_path / "missing"])
    assert names(shelf) == ["A", "b", "c"]


def test_a_table_holds_what_fits_the_width() -> None:
    shelf, clip = EmbeddingShelf([TINY]), ClipTokenizer()
    table = shelf.table((16,), clip.encode)
    assert [(each.name, each.count) for each in table.loaded] == [("tinyemb", 3), ("tinypt", 2)]
    assert table.skipped == ()
    assert shelf.table((16,), clip.encode) is table, "nothing changed"
    other = shelf.table((768,), clip.encode)
    assert (other.loaded, other.skipped) == ((), table.loaded)
    found = table.find(clip.encode("a tinypt"), 1)
    assert found is not None
    assert found[0].name == "tinypt"


def test_only_what_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def noted(file: EmbeddingFile, *, hashing: bool) -> object:
        read.append(file.path.name)
        return read_embedding(file, hashing=hashing)

    monkeypatch.setattr("models.embeddings.shelf.read_embedding", noted)
    shelf = EmbeddingShelf([tmp_path])
    put(tmp_path / "a.pt")
    put(tmp_path / "b.pt")
    first = shelf.embeddings()
    assert shelf.embeddings() is first
    assert read == ["a.pt", "b.pt"]
    table = shelf.table((16,), ClipTokenizer().encode)
    put(tmp_path / "b.pt", VECTORS[:1])
    os.utime(tmp_path / "b.pt", ns=(1, 1))
    put(tmp_path / "sub" / "c.pt")
    (tmp_path / "a.pt").unlink()
    assert [(each.name, each.count) for each in shelf.embeddings()] == [("b", 1), ("c", 2)]
    assert read == ["a.pt", "b.pt", "b.pt", "c.pt"]
    assert table.loaded == first, "a table that is in use stays as it is"


def test_hostile_files_cost_one_warning_each(tmp_path: Path) -> None:
    put(tmp_path / "good.pt")
    (tmp_path / "bad.pt").write_bytes(b"junk")
    (tmp_path / "odd.safetensors").write_bytes(b"junk")
    shelf = EmbeddingShelf([tmp_path])
    with capture_logs() as logs:
        assert names(shelf) == ["good"]
        put(tmp_path / "new.pt")
        assert names(shelf) == ["good", "new"]
    warned = [Path(log["path"]).name for log in logs if log["log_level"] == "warning"]
    assert sorted(warned) == ["bad.pt", "odd.safetensors"]


def test_of_one_name_the_first_file_is_taken(tmp_path: Path) -> None:
    put(tmp_path / "a.pt", VECTORS[:1])
    put(tmp_path / "sub" / "a.bin")
    put(tmp_path / "sub" / "A.pt")
    with capture_logs() as logs:
        listed = EmbeddingShelf([tmp_path]).embeddings()
    assert [(each.name, each.count) for each in listed] == [("a", 1), ("A", 2)]
    assert [Path(log["path"]).name for log in logs] == ["a.bin"]


def test_hashing_can_be_left_out() -> None:
    shelf = EmbeddingShelf([TINY], hashing=False)
    assert [each.short_hash for each in shelf.embeddings()] == [None, None]
