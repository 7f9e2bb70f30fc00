import math
from io import FileIO
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.errors import CheckpointError, CheckpointNotFound, CorruptCheckpoint
from models.families import weights
from models.header import Header, header_of
from models.networks import reading
from models.networks.reading import read_network

from ..files import raw_safetensors, tensor


def test_tensors_are_sorted_by_module_and_part(tmp_path: Path) -> None:
    up, down = torch.randn(3, 2).half(), torch.randn(2, 4).bfloat16()
    state = {
        "lora_unet_a.lora_up.weight": up,
        "lora_unet_a.lora_down.weight": down,
        "lora_unet_a.alpha": torch.tensor(2),
        "lora_unet_b.weight": torch.ones(4),
        "lora_unet_b.on_input": torch.tensor(True),
        "emb_params": torch.ones(2, 3),
        "lora_unet_c.alpha": torch.ones(1, dtype=torch.complex64),
    }
    save_file(state, tmp_path / "a.safetensors")
    file = read_network(tmp_path / "a.safetensors", allow_pickle=False)
    assert {name: set(parts) for name, parts in file.changes.items()} == {
        "lora_unet_a": {"up", "down", "alpha"},
        "lora_unet_b": {"ia3", "on_input"},
    }
    assert torch.equal(file.changes["lora_unet_a"]["up"], up)
    assert torch.equal(file.changes["lora_unet_a"]["down"], down)
    assert file.changes["lora_unet_a"]["alpha"].item() == 2
    assert sorted(file.unknown) == ["emb_params", "lora_unet_c.alpha"]
    assert file.embeddings == {}


BROKEN = ("half", "nan", "odd", "two", "whole")


def test_only_what_is_wanted_is_read(tmp_path: Path) -> None:
    state = {f"lora_unet_{name}.alpha": torch.ones(1) for name in "abc"}
    save_file(state, tmp_path / "a.safetensors")
    file = read_network(
        tmp_path / "a.safetensors", allow_pickle=False, wanted=lambda name: name == "lora_unet_b"
    )
    assert file.changes.keys() == {"lora_unet_b"}
    assert sorted(file.strangers) == ["lora_unet_a", "lora_unet_c"]


def test_embeddings_are_read_by_name(tmp_path: Path) -> None:
    vectors, wide, one = torch.randn(3, 16), torch.randn(3, 20), torch.randn(16)
    state = {
        "bundle_emb.cat.string_to_param.*": vectors,
        "bundle_emb.dog.string_to_param.265": one,
        "bundle_emb.xl.clip_l": vectors,
        "bundle_emb.xl.clip_g": wide,
        "bundle_emb.odd.string_to_param.*": torch.randn(1, 2, 3),
        "bundle_emb.half.clip_l": vectors,
        "bundle_emb.two.clip_l": vectors,
        "bundle_emb.two.clip_g": wide[:2],
        "bundle_emb.nan.string_to_param.*": vectors * math.nan,
        "bundle_emb.whole.string_to_param.*": torch.ones(2, 16, dtype=torch.int64),
        "bundle_emb": vectors,
    }
    save_file({name: part.clone() for name, part in state.items()}, tmp_path / "a.safetensors")
    file = read_network(tmp_path / "a.safetensors", allow_pickle=False)
    assert file.embeddings.keys() == {"cat", "dog", "xl"}
    assert [each.tolist() for each in file.embeddings["cat"]] == [vectors.tolist()]
    assert [each.tolist() for each in file.embeddings["dog"]] == [one[None].tolist()]
    assert [each.tolist() for each in file.embeddings["xl"]] == [vectors.tolist(), wide.tolist()]
    assert sorted(file.unknown) == ["bundle_emb", *(f"bundle_emb.{n}" for n in BROKEN)]


def test_a_pickle_is_read_only_when_allowed(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"lora_unet_a.alpha": torch.tensor(2.0), "epoch": 3}, path)
    with pytest.raises(CheckpointError, match="only when allowed"):
        read_network(path, allow_pickle=False)
    assert read_network(path, allow_pickle=True).changes["lora_unet_a"]["alpha"] == 2


def test_a_file_that_is_none_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(CheckpointNotFound):
        read_network(path, allow_pickle=False)
    path.write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(CorruptCheckpoint, match="pickle"):
        read_network(path, allow_pickle=True)
    path.write_bytes(raw_safetensors({"x.alpha": tensor("F32", [4], 0, 16)}, b"\0" * 16))
    monkeypatch.setattr(reading, "MAX_BYTES", 15)
    with pytest.raises(CheckpointError, match="more than 15 bytes; no network is so big"):
        read_network(path, allow_pickle=False)
    monkeypatch.undo()
    read = header_of

    def cut_off(path: Path, file: FileIO) -> Header:
        header = read(path, file)
        path.write_bytes(path.read_bytes()[:-4])
        return header

    monkeypatch.setattr(weights, "header_of", cut_off)
    with pytest.raises(CorruptCheckpoint, match="was cut off"):
        read_network(path, allow_pickle=False)


@pytest.mark.parametrize(
    "dtype", ("BOOL", "U8", "I16", "U16", "F16", "BF16", "I32", "F32", "I64", "F64", "F8_E4M3")
)
def test_every_type_of_number_is_read_and_so_is_a_tensor_of_nothing(
    tmp_path: Path, dtype: str
) -> None:
    size = reading_bytes(dtype)
    path = tmp_path / "a.safetensors"
    header = {"x.alpha": tensor(dtype, [1], 0, size), "y.diff": tensor(dtype, [0, 3], size, size)}
    path.write_bytes(raw_safetensors(header, b"\0" * size))
    changes = read_network(path, allow_pickle=False).changes
    assert float(changes["x"]["alpha"].item()) == 0
    assert changes["y"]["diff"].shape == (0, 3)


def reading_bytes(dtype: str) -> int:
    return {"BOOL": 1, "U8": 1, "F8_E4M3": 1, "I64": 8, "F64": 8, "F32": 4, "I32": 4}.get(dtype, 2)
