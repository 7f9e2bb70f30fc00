"""Files that mean no good, as checkpoints and as autoencoders: an error that names the file."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.errors import CheckpointError, CorruptCheckpoint, UnsupportedCheckpoint
from models.families import check, sd15
from models.families.vae_swap import load_vae
from models.families.weights import open_weights
from models.networks.reading import read_network
from models.precision import Formats
from models.vae_files import VaeInfo

from ..files import CHECKPOINTS, raw_safetensors, tensor
from .tiny_xl import TRUE, header
from .variants import State, changed, info_of, load_path

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CPU = torch.device("cpu")
#: far more than a refusal takes, far less than what is refused would
SECONDS = 20


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A sound checkpoint to put in another's place."""
    return Path(shutil.copy(CHECKPOINTS / "tiny-vpred.safetensors", tmp_path / "other"))


def truncate(path: Path, _other: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def replace(path: Path, other: Path) -> None:
    os.replace(other, path)


def rewrite(path: Path, other: Path) -> None:
    time.sleep(0.02)
    path.write_bytes(other.read_bytes())


def remove(path: Path, _other: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [truncate, replace, rewrite, remove])
def test_a_checkpoint_that_changes_between_header_and_tensors_is_an_error(
    tmp_path: Path, other: Path, change: Callable[[Path, Path], None]
) -> None:
    path = changed(tmp_path, dict)
    with (
        pytest.raises(CorruptCheckpoint, match="while it was read") as caught,
        open_weights(path, allow_pickle=False) as weights,
    ):
        change(path, other)
        sd15.FAMILY.load(info_of(path), weights, device=CPU, formats=Formats())
    assert caught.value.path == path


def empty(name: str) -> Callable[[State], State]:
    return lambda state: state | {name: state[name][:0]}


def deep(name: str, count: int) -> Callable[[State], State]:
    """A name once for each number: a model that would take minutes to build."""
    return lambda state: state | {name.format(i): torch.zeros(1, 1, 1, 1) for i in range(count)}


def only(prefix: str) -> Callable[[State], State]:
    return lambda state: {name: tensor for name, tensor in state.items() if prefix in name}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (empty(f"{UNET}input_blocks.0.0.weight"), "the model needs"),
        (empty(f"{UNET}out.2.weight"), "gives 0 channels"),
        (empty(f"{UNET}middle_block.1.norm.weight"), "the model needs"),
        (empty(f"{VAE}decoder.conv_in.weight"), "the model needs"),
        (deep(f"{UNET}input_blocks.1.1.transformer_blocks.{{}}.norm1.weight", 9000), "beyond the"),
        (deep(f"{VAE}encoder.down.{{}}.block.0.conv1.weight", 3000), "beyond the"),
        (only(UNET), "holds no text encoder"),
        (only(VAE), "a VAE alone"),
        (
            lambda state: state | {f"{UNET}input_blocks.0.0.weight": torch.zeros(32, 4)},
            "misshapen",
        ),
        (
            lambda state: state | {f"{UNET}out.2.bias": torch.zeros(4, dtype=torch.complex64)},
            "is C64",
        ),
    ],
)
def test_a_hostile_checkpoint_is_refused_soon_and_by_name(
    tmp_path: Path, change: Callable[[State], State], reason: str
) -> None:
    path = changed(tmp_path, change)
    start = time.monotonic()
    with pytest.raises(CheckpointError, match=reason) as caught:
        load_path(path)
    assert time.monotonic() - start < SECONDS
    assert caught.value.path == path


def test_a_header_that_promises_a_whole_model_is_refused_without_one(tmp_path: Path) -> None:
    fields = {
        name: tensor(entry.dtype, [*entry.shape, 0], 0, 0)
        for name, entry in header(TRUE["sdxl"]).tensors.items()
    }
    path = tmp_path / "a.safetensors"
    path.write_bytes(raw_safetensors(fields))
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        load_path(path)


def test_a_lora_given_as_a_checkpoint_is_told_where_it_belongs(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    shutil.copy(CHECKPOINTS.parent / "Lora" / "tinylora.safetensors", path)
    for ask in (lambda: check(info_of(path)), lambda: load_path(path)):
        with pytest.raises(UnsupportedCheckpoint, match="a LoRA: belongs in models/Lora"):
            ask()


def test_a_checkpoint_given_as_a_lora_is_none() -> None:
    path = CHECKPOINTS / "tiny-sd15.safetensors"
    with pytest.raises(UnsupportedCheckpoint, match=r"a whole model \(SD1\), not a network"):
        read_network(path, allow_pickle=False)


def vae_state() -> dict[str, Tensor]:
    state = load_file(CHECKPOINTS / "tiny-sd15.safetensors")
    return {n.removeprefix(VAE): t for n, t in state.items() if n.startswith(VAE)}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (empty("decoder.conv_in.weight"), "the model needs"),
        (empty("quant_conv.weight"), "the model needs"),
        (deep("encoder.down.{}.block.0.conv1.weight", 3000), "beyond the"),
        (deep("encoder.down.0.block.{}.conv1.weight", 3000), "beyond the"),
        (only("encoder.mid"), "decoder.conv_in"),
        (
            lambda _: load_file(CHECKPOINTS.parent / "Lora" / "tinylora.safetensors"),
            "decoder.conv_in",
        ),
    ],
)
def test_a_hostile_autoencoder_is_refused_soon_and_by_name(
    tmp_path: Path, change: Callable[[State], State], reason: str
) -> None:
    path = tmp_path / "a.safetensors"
    save_file({n: t.contiguous() for n, t in change(vae_state()).items()}, path)
    start = time.monotonic()
    with pytest.raises(CheckpointError, match=reason) as caught:
        load_vae(VaeInfo(path=path, name=path.name), device=CPU, dtype=torch.float32)
    assert time.monotonic() - start < SECONDS
    assert caught.value.path == path
