import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.errors import CheckpointNotFound, CorruptCheckpoint, UnsupportedCheckpoint
from models.families.weights import open_weights
from models.header import TensorEntry

STATE = {"a": torch.arange(6, dtype=torch.float16).reshape(2, 3), "b": torch.tensor([1.5])}


class Payload:
    """A pickle that would run a command."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('the pickle ran')",)


def test_safetensors_give_tensors_by_name(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "a.safetensors")
    with open_weights(tmp_path / "a.safetensors", allow_pickle=False) as weights:
        assert weights.header.tensors["a"] == TensorEntry(dtype="F16", shape=(2, 3))
        assert torch.equal(weights.read("a"), STATE["a"])


def test_every_float_type_and_shape_is_read_as_written(tmp_path: Path) -> None:
    kinds = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    state = {str(kind): torch.randn(3, 1, 2).to(kind) for kind in kinds}
    state |= {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4)}
    save_file(state, tmp_path / "a.safetensors")
    with open_weights(tmp_path / "a.safetensors", allow_pickle=False) as weights:
        for name, tensor in state.items():
            found = weights.read(name)
            assert found.dtype == tensor.dtype
            assert torch.equal(found, tensor)


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def overwrite(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    time.sleep(0.02)
    path.write_bytes(content)


def replace(path: Path) -> None:
    other = path.with_suffix(".new")
    save_file({name: tensor + 1 for name, tensor in STATE.items()}, other)
    os.replace(other, path)


def test_a_file_cut_off_while_it_is_open_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(STATE, path)
    with (
        pytest.raises(CorruptCheckpoint, match="cut off while it was read"),
        open_weights(path, allow_pickle=False) as weights,
    ):
        cut_off(path)
        [weights.read(name) for name in STATE]


@pytest.mark.parametrize("change", [cut_off, overwrite, replace, os.remove])
def test_a_file_changed_while_it_is_open_is_an_error_in_the_end(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "a.safetensors"
    save_file(STATE, path)
    with (
        pytest.raises(CorruptCheckpoint, match=r"a\.safetensors: the file was changed or repl"),
        open_weights(path, allow_pickle=False) as weights,
    ):
        weights.read("a")
        change(path)


def test_tensors_come_from_the_file_whose_header_was_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(STATE, path)
    found = None
    with pytest.raises(CorruptCheckpoint), open_weights(path, allow_pickle=False) as weights:
        replace(path)
        found = weights.read("a")
    assert found is not None
    assert torch.equal(found, STATE["a"])


def test_fp8_is_read_as_written(tmp_path: Path) -> None:
    state = {
        "small": torch.randn(4, 3).to(torch.float8_e4m3fn),
        "wide": torch.randn(5).to(torch.float8_e5m2),
    }
    save_file(state, tmp_path / "a.safetensors")
    with open_weights(tmp_path / "a.safetensors", allow_pickle=False) as weights:
        assert {weights.header.tensors[name].dtype for name in state} == {"F8_E4M3", "F8_E5M2"}
        for name, tensor in state.items():
            assert weights.read(name).dtype == tensor.dtype
            assert torch.equal(weights.read(name).float(), tensor.float())


@pytest.mark.parametrize("content", [STATE, {"state_dict": STATE, "epoch": 3}])
def test_an_allowed_pickle_gives_the_same(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "a.ckpt")
    with open_weights(tmp_path / "a.ckpt", allow_pickle=True) as weights:
        assert weights.header.tensors["a"] == TensorEntry(dtype="F16", shape=(2, 3))
        assert set(weights.header.tensors) == {"a", "b"}
        assert torch.equal(weights.read("a"), STATE["a"])


def test_a_pickle_is_refused_unless_allowed(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "a.ckpt")
    with (
        pytest.raises(UnsupportedCheckpoint, match="only when allowed"),
        open_weights(tmp_path / "a.ckpt", allow_pickle=False),
    ):
        pass


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_a_payload_does_not_run(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "a.ckpt"
    if zipped:
        torch.save({"state_dict": STATE, "x": Payload()}, path)
    else:
        path.write_bytes(pickle.dumps(Payload(), protocol=2))
    with (
        pytest.raises(UnsupportedCheckpoint, match="more than tensors"),
        open_weights(path, allow_pickle=True),
    ):
        pass


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"nonsense"])
def test_a_damaged_pickle_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.ckpt").write_bytes(content)
    with (
        pytest.raises((CorruptCheckpoint, UnsupportedCheckpoint), match=r"a\.ckpt"),
        open_weights(tmp_path / "a.ckpt", allow_pickle=True),
    ):
        pass


def test_a_pickle_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "a.ckpt")
    with (
        pytest.raises(CorruptCheckpoint, match="no table"),
        open_weights(tmp_path / "a.ckpt", allow_pickle=True),
    ):
        pass


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    for name in ("a.ckpt", "a.safetensors"):
        with (
            pytest.raises(CheckpointNotFound, match="no such file"),
            open_weights(tmp_path / name, allow_pickle=True),
        ):
            pass
