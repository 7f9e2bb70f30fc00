"""Files of networks as they come, damaged, hostile, or of something else: what is refused, why."""

import io
import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from models import architectures
from models.architectures import open_architecture
from models.errors import (
    CheckpointNotFound,
    CorruptCheckpoint,
    NoSpandrel,
    UnsupportedCheckpoint,
)
from models.upscalers.network import open_upscaler

from .files import one_tensor
from .upscalers.nets import network, saved

CPU = torch.device("cpu")


def compact(path: Path, **changes: Any) -> Path:
    return saved(network("Compact", **changes), path)


def weights(path: Path, **changes: Any) -> dict[str, torch.Tensor]:
    """The weights of a sound network with some of them replaced."""
    state = {**network("Compact").state_dict(), **changes}
    torch.save(state, path)
    return state


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self._path),)


@pytest.mark.parametrize("old", [False, True])
def test_nothing_in_a_pickle_is_run(tmp_path: Path, old: bool) -> None:
    payload = Payload(tmp_path / "pwned")
    state = {**network("Compact").state_dict(), "extra": payload}
    torch.save(state, tmp_path / "evil.pth", _use_new_zipfile_serialization=not old)
    with pytest.raises(UnsupportedCheckpoint, match="holds more than tensors"):
        open_architecture(tmp_path / "evil.pth")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(payload))
    with pytest.raises((UnsupportedCheckpoint, CorruptCheckpoint)):
        open_architecture(tmp_path / "bare.pth")
    assert not (tmp_path / "pwned").exists()


def test_a_file_from_before_torch_1_6_opens(tmp_path: Path) -> None:
    module = network("ESRGAN")
    torch.save(module.state_dict(), tmp_path / "n.pth", _use_new_zipfile_serialization=False)
    opened = open_architecture(tmp_path / "n.pth")
    assert (opened.architecture.id, opened.scale) == ("ESRGAN", 4)


def test_weights_in_half_precision_are_read_in_float32(tmp_path: Path) -> None:
    for name in ("n.pth", "n.safetensors"):
        opened = open_architecture(saved(network("Compact").half(), tmp_path / name))
        assert opened.dtype == torch.float32
        assert not opened.model.training


@pytest.mark.parametrize("name", ["n.pth", "n.safetensors"])
def test_files_cut_off_anywhere(tmp_path: Path, name: str) -> None:
    content = compact(tmp_path / name).read_bytes()
    for share in (0, 0.001, 0.3, 0.9, 0.999):
        cut = tmp_path / f"cut-{name}"
        cut.write_bytes(content[: int(len(content) * share)])
        with pytest.raises((CorruptCheckpoint, UnsupportedCheckpoint)):
            open_architecture(cut)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<!DOCTYPE html>", "web page"),
        (b"version https://git-lfs", "Git LFS pointer"),
        (b"GGUF" * 10, "GGUF"),
        (b"\0" * 100, "unpickled"),
    ],
)
def test_other_things_under_the_name_of_weights(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    for name in ("n.pth", "n.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CorruptCheckpoint, match=reason if name == "n.pth" else None):
            open_architecture(tmp_path / name)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound):
        open_architecture(tmp_path / "n.pth")
    with pytest.raises(CorruptCheckpoint, match="cannot be read"):
        open_architecture(tmp_path)


def test_a_bomb_of_a_zip(tmp_path: Path) -> None:
    content = io.BytesIO(compact(tmp_path / "n.pth").read_bytes())
    with (
        zipfile.ZipFile(content) as archive,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for entry in archive.infolist():
            bomb.writestr(entry.filename, archive.read(entry))
        bomb.writestr("archive/data/999", bytes(1 << 24))
    with pytest.raises(CorruptCheckpoint, match="compressed"):
        open_architecture(tmp_path / "bomb.pth")


def test_tensors_that_are_larger_than_the_file(tmp_path: Path) -> None:
    wide = torch.zeros(1).expand(1 << 20, 3, 3, 3)
    weights(tmp_path / "n.pth", **{"body.0.weight": wide, "body.0.bias": torch.zeros(1 << 20)})
    with pytest.raises(CorruptCheckpoint, match="larger than the file"):
        open_architecture(tmp_path / "n.pth")


@pytest.mark.parametrize("number", ["500", "100000000", "9" * 400])
def test_a_layer_of_a_number_beyond_all_others(tmp_path: Path, number: str) -> None:
    weights(tmp_path / "n.pth", **{f"body.{number}.bias": torch.zeros(48)})
    with pytest.raises(CorruptCheckpoint, match="no layers before it"):
        open_architecture(tmp_path / "n.pth")


def test_a_network_that_would_be_larger_than_its_weights(tmp_path: Path) -> None:
    """Wide at its first layer, and many: what is built has the width in all of them."""
    state = {f"body.{2 * each}.weight": torch.zeros(1) for each in range(100)}
    state |= {f"body.{2 * each + 1}.weight": torch.zeros(1) for each in range(100)}
    state |= {"body.0.weight": torch.zeros(1000, 3, 3, 3), "body.199.bias": torch.zeros(48)}
    torch.save(state, tmp_path / "n.pth")
    with pytest.raises(CorruptCheckpoint, match="larger than its weights"):
        open_architecture(tmp_path / "n.pth")


def test_windows_that_are_told_by_a_value(tmp_path: Path) -> None:
    path = tmp_path / "n.pth"
    state = network("DAT").state_dict()
    torch.save(state, path)
    assert open_architecture(path).scale == 2
    name = "layers.0.blocks.0.attn.attns.0.rpe_biases"
    torch.save({**state, name: torch.full_like(state[name], 100_000)}, path)
    with pytest.raises(CorruptCheckpoint, match="out of all proportion"):
        open_architecture(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    weights(tmp_path / "n.pth", **{"body.2.bias": torch.full((8,), value)})
    with pytest.raises(CorruptCheckpoint, match=r"'body\.2\.bias' holds not-a-number"):
        open_architecture(tmp_path / "n.pth")


def test_weights_that_do_not_fit_together(tmp_path: Path) -> None:
    weights(tmp_path / "n.pth", **{"body.2.weight": torch.zeros(7, 7, 3, 3)})
    with pytest.raises(CorruptCheckpoint, match="do not fit together"):
        open_architecture(tmp_path / "n.pth")


@pytest.mark.parametrize(
    "keys",
    [
        ("lora_unet_down_blocks_0.lora_down.weight", "lora_unet_down_blocks_0.alpha"),
        ("encoder.conv_in.weight", "decoder.conv_out.weight"),
        ("model.diffusion_model.input_blocks.0.0.weight",),
        ("string_to_param",),
    ],
    ids=["lora", "vae", "checkpoint", "embedding"],
)
def test_weights_of_something_else(tmp_path: Path, keys: tuple[str, ...]) -> None:
    state = {key: torch.zeros(4, 4) for key in keys}
    safetensors.torch.save_file(state, tmp_path / "n.safetensors")
    torch.save({"state_dict": state}, tmp_path / "n.pth")
    for name in ("n.safetensors", "n.pth"):
        with pytest.raises(UnsupportedCheckpoint, match="no upscaler or face restorer of a known"):
            open_architecture(tmp_path / name)


def test_what_holds_no_tensors(tmp_path: Path) -> None:
    for number, content in enumerate(([torch.zeros(1)], {}, {"a": "text"}, torch.zeros(3), None)):
        torch.save(content, tmp_path / f"{number}.pth")
        with pytest.raises((CorruptCheckpoint, UnsupportedCheckpoint)):
            open_architecture(tmp_path / f"{number}.pth")
    with pytest.raises(UnsupportedCheckpoint):
        open_architecture(one_tensor(tmp_path / "n.safetensors"))


def test_networks_of_other_pictures_are_no_upscalers(tmp_path: Path) -> None:
    grey = compact(tmp_path / "grey.pth", num_in_ch=1, num_out_ch=1)
    with pytest.raises(UnsupportedCheckpoint, match="1 channels from 1, not RGB from RGB"):
        open_upscaler(grey, device=CPU, half=False)


def test_a_network_that_restores_faces_is_told_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Faces:
        purpose = "FaceSR"

    monkeypatch.setattr("models.upscalers.network.open_architecture", lambda path: Faces())
    with pytest.raises(UnsupportedCheckpoint, match="its place is the folder GFPGAN"):
        open_upscaler(tmp_path / "n.pth", device=CPU, half=False)


def test_a_network_that_keeps_the_size_is_used_for_what_it_restores(tmp_path: Path) -> None:
    path = compact(tmp_path / "1x.pth", upscale=1)
    assert open_upscaler(path, device=CPU, half=False).scale == 1


def test_a_network_that_cannot_run_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    path = saved(network("Compact"), tmp_path / "n.pth")
    state = torch.load(path, weights_only=True)
    # 2 channels in: the picture has 3, and the output is told by the last layer alone
    state["body.0.weight"] = torch.zeros(8, 4, 3, 3)
    torch.save(state, path)
    with pytest.raises(UnsupportedCheckpoint, match="3 channels from 4"):
        open_upscaler(path, device=CPU, half=False)


def test_without_spandrel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = compact(tmp_path / "n.pth")
    monkeypatch.setitem(sys.modules, "spandrel_extra_arches", None)
    with pytest.raises(NoSpandrel, match=r"\./launch\.sh install"):
        open_architecture(path)


def test_a_file_beyond_all_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = compact(tmp_path / "n.pth")
    monkeypatch.setattr(architectures, "MAX_BYTES", 1000)
    with pytest.raises(UnsupportedCheckpoint, match="more than 1000 bytes"):
        open_architecture(path)
