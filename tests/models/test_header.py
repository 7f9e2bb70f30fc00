import os
import pickle
from pathlib import Path

import pytest

from models.errors import CheckpointNotFound, CorruptCheckpoint
from models.header import MAX_HEADER_BYTES, MAX_TENSORS, TensorEntry, read_header

from .files import CHECKPOINTS, raw_safetensors, tensor

TWO = {"a": tensor("F16", [2, 3], 0, 12), "b": tensor("F32", [], 12, 16)}


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_sound_file_gives_its_tensors_and_metadata(tmp_path: Path) -> None:
    content = raw_safetensors({"__metadata__": {"format": "pt"}, **TWO}, bytes(16))
    header = read_header(written(tmp_path / "a.safetensors", content))
    assert header.tensors == {
        "a": TensorEntry(dtype="F16", shape=(2, 3)),
        "b": TensorEntry(dtype="F32", shape=()),
    }
    assert header.metadata == {"format": "pt"}
    assert header.tensors["b"].position == header.tensors["a"].position + 12 == len(content) - 4


def test_empty_tensors_take_no_bytes(tmp_path: Path) -> None:
    fields = {"b": tensor("F32", [0, 7], 0, 0), "a": tensor("F32", [1], 0, 4)}
    header = read_header(written(tmp_path / "a.safetensors", raw_safetensors(fields, bytes(4))))
    assert header.tensors["b"].shape == (0, 7)


def test_a_real_checkpoint_has_its_1137_tensors() -> None:
    header = read_header(CHECKPOINTS / "tiny-sd15.safetensors")
    assert len(header.tensors) == 1137
    entry = header.tensors["model.diffusion_model.input_blocks.0.0.weight"]
    assert entry == TensorEntry(dtype="F32", shape=(32, 4, 3, 3))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "0 bytes", id="empty"),
        pytest.param(b"\x01\x00", "2 bytes", id="shorter than a length"),
        pytest.param((2**63).to_bytes(8, "little") + b"{}", "not a safetensors", id="2^63"),
        pytest.param((MAX_HEADER_BYTES).to_bytes(8, "little") + b"{}", "cut off", id="length"),
        pytest.param(pickle.dumps({"state_dict": 1}, protocol=2), "pickle", id="pickle"),
        pytest.param(b"PK\x03\x04" + bytes(60), "pickle", id="zipped pickle"),
        pytest.param(b"\x80\x05", "pickle", id="the start of a newer pickle"),
        pytest.param(b"GGUF\x03\x00\x00\x00" + bytes(16), "GGUF file", id="GGUF"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\n", "Git LFS", id="LFS"),
        pytest.param(b"<!doctype html><html>", "web page", id="web page"),
        pytest.param(raw_safetensors(b"not json"), "not JSON", id="not JSON"),
        pytest.param(raw_safetensors(b"\xff\xfe{}"), "not JSON", id="not UTF-8"),
        pytest.param(raw_safetensors(b"[" * 100_000), "not JSON", id="nested deep"),
        pytest.param(raw_safetensors(b"9" * 10_000), "not JSON", id="huge number"),
        pytest.param(raw_safetensors([1]), "not a JSON object", id="a list"),
        pytest.param(raw_safetensors({"__metadata__": {"a": 1}}), "metadata", id="metadata"),
        pytest.param(raw_safetensors({"__metadata__": [1]}), "metadata", id="metadata list"),
        pytest.param(raw_safetensors({"a": 1}), "no proper dtype", id="no table"),
        pytest.param(
            raw_safetensors({"a": tensor("F32", [-1], 0, 4)}, bytes(4)), "proper", id="negative"
        ),
        pytest.param(
            raw_safetensors({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}),
            "proper",
            id="a truth value for a size",
        ),
        pytest.param(
            raw_safetensors({"a": tensor("F99", [1], 0, 4)}, bytes(4)), "'F99'", id="dtype"
        ),
        pytest.param(
            raw_safetensors({"a": tensor("F32", [2**40, 2**40], 0, 4)}, bytes(4)),
            "its shape needs",
            id="shape overflow",
        ),
        pytest.param(
            raw_safetensors({"a": tensor("F32", [1], -4, 0)}, bytes(4)), "proper", id="before 0"
        ),
        pytest.param(
            raw_safetensors({"a": tensor("F32", [1], 4, 0)}, bytes(4)), "spans", id="backwards"
        ),
        pytest.param(
            raw_safetensors({"a": tensor("F32", [1] * 40, 0, 4)}, bytes(4)), "40 dim", id="rank"
        ),
        pytest.param(raw_safetensors(TWO, bytes(15)), "16 bytes of tensors", id="truncated"),
        pytest.param(raw_safetensors(TWO, bytes(17)), "1 bytes after", id="appended"),
        pytest.param(
            raw_safetensors({**TWO, "c": tensor("F16", [2], 8, 12)}, bytes(16)),
            "overlaps",
            id="overlap",
        ),
        pytest.param(
            raw_safetensors({"a": tensor("F32", [1], 4, 8)}, bytes(8)), "leaves a gap", id="gap"
        ),
        pytest.param(
            raw_safetensors({"a": tensor("F32", [10**4200, 10**4200], 0, 4)}, bytes(4)),
            "no proper",
            id="a product of more digits than can be printed",
        ),
        pytest.param(
            raw_safetensors({"a": tensor("F32", [0, 2**62, 2**62], 0, 0)}),
            "spans",
            id="nothing in it, and sizes beyond 63 bits",
        ),
        pytest.param(
            raw_safetensors({"\ud800": tensor("F32", [1], 0, 4)}, bytes(4)),
            r"'\\ud800' is not Unicode",
            id="half a surrogate pair for a name",
        ),
        pytest.param(
            raw_safetensors(b"[" + b"[]," * 2_000_000 + b"0]"), "4000000 values", id="many values"
        ),
    ],
)
def test_a_damaged_file_is_refused_with_its_reason(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    path = written(tmp_path / "a.safetensors", data)
    with pytest.raises(CorruptCheckpoint, match=reason) as caught:
        read_header(path)
    assert caught.value.path == path
    assert "\n" not in str(caught.value)


def test_a_header_as_long_as_a_pickle_begins_is_a_header(tmp_path: Path) -> None:
    length = int.from_bytes(b"\x80\x02", "little")
    content = raw_safetensors(b"{}".ljust(length))
    assert content[:2] == b"\x80\x02"
    assert not read_header(written(tmp_path / "a.safetensors", content)).tensors


def test_a_message_does_not_grow_with_the_name_it_is_about(tmp_path: Path) -> None:
    fields = {"x" * 100_000: tensor("F32", [1], 0, 3)}
    path = written(tmp_path / "a.safetensors", raw_safetensors(fields, bytes(3)))
    with pytest.raises(CorruptCheckpoint) as caught:
        read_header(path)
    assert len(caught.value.reason) < 250


def test_too_many_tensors_are_refused(tmp_path: Path) -> None:
    fields = {f"t{i}": tensor("U8", [0], 0, 0) for i in range(MAX_TENSORS + 1)}
    path = written(tmp_path / "a.safetensors", raw_safetensors(fields))
    with pytest.raises(CorruptCheckpoint, match=f"{MAX_TENSORS + 1} tensors"):
        read_header(path)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match="no such file"):
        read_header(tmp_path / "absent.safetensors")
    os.mkdir(tmp_path / "folder.safetensors")
    with pytest.raises(CorruptCheckpoint, match="cannot be read"):
        read_header(tmp_path / "folder.safetensors")
