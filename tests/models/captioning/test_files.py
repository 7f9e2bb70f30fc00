"""Which captioning files count as there."""

from pathlib import Path

import pytest

from models.captioning.files import WeightsMissing, find_blip, find_tagger, read_json, read_text
from models.errors import CorruptCheckpoint


def put(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"{}")


def test_a_captioner_is_its_three_files(tmp_path: Path) -> None:
    put(tmp_path / "BLIP", "config.json", "model.safetensors", "vocab.txt")
    found = find_blip(tmp_path, allow_pickle=False)
    assert found.vocabulary.name == "vocab.txt"
    assert found == find_blip(tmp_path, allow_pickle=False)

    put(tmp_path / "BLIP", "tokenizer.json")
    later = find_blip(tmp_path, allow_pickle=False)
    assert later.vocabulary.name == "tokenizer.json"
    assert later != found


def test_files_that_changed_are_another_value(tmp_path: Path) -> None:
    put(tmp_path / "BLIP", "config.json", "model.safetensors", "vocab.txt")
    found = find_blip(tmp_path, allow_pickle=False)
    (tmp_path / "BLIP" / "model.safetensors").write_bytes(b"{} ")
    assert find_blip(tmp_path, allow_pickle=False) != found


def test_what_is_missing_is_named_with_its_folder(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"'BLIP'.*: config.json, model.safetensors, tok"):
        find_blip(tmp_path, allow_pickle=False)
    with pytest.raises(WeightsMissing, match=r"'torch_deepdanbooru'.*: model.onnx, selected_tags"):
        find_tagger(tmp_path)
    put(tmp_path / "torch_deepdanbooru", "model.onnx")
    with pytest.raises(WeightsMissing, match=r"folder: selected_tags.csv or tags.txt$"):
        find_tagger(tmp_path)


def test_a_pickle_is_taken_only_where_it_is_allowed(tmp_path: Path) -> None:
    put(tmp_path / "BLIP", "config.json", "pytorch_model.bin", "vocab.txt")
    with pytest.raises(WeightsMissing, match="only with --allow-pickle"):
        find_blip(tmp_path, allow_pickle=False)
    assert find_blip(tmp_path, allow_pickle=True).weights.name == "pytorch_model.bin"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe", "not a text in UTF-8"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
    ],
)
def test_what_is_no_table_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(CorruptCheckpoint, match=reason) as caught:
        read_json(path)
    assert caught.value.path == path


def test_a_file_that_goes_on_and_on_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "tags.txt"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(CorruptCheckpoint, match="longer than"):
        read_text(path)
