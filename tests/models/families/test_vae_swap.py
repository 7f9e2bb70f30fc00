"""VAE files: each layout gives the module that the checkpoint's own VAE is."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.errors import CorruptCheckpoint, UnsupportedCheckpoint
from models.families.vae_swap import load_vae
from models.vae_files import VaeInfo

from ..files import CHECKPOINTS
from .variants import reference

PREFIX = "first_stage_model."
State = dict[str, Tensor]


def load(path: Path, *, allow_pickle: bool = False) -> AutoencoderKL:
    info = VaeInfo(path=path, name=path.name)
    return load_vae(
        info, device=torch.device("cpu"), dtype=torch.float32, allow_pickle=allow_pickle
    )


def ldm(prefix: str = "") -> State:
    """Take tiny-vpred's VAE in LDM's layout."""
    whole = load_file(CHECKPOINTS / "tiny-vpred.safetensors")
    return {
        prefix + name.removeprefix(PREFIX): tensor
        for name, tensor in whole.items()
        if name.startswith(PREFIX)
    }


def diffusers_layout(*, old: bool = False) -> State:
    """Take the same VAE in diffusers' layout, with its first or its present names of attention."""
    state: State = {}
    for name, tensor in reference("tiny-vpred").vae.state_dict().items():
        if old:
            for new, former in (
                ("to_q", "query"),
                ("to_k", "key"),
                ("to_v", "value"),
                ("to_out.0", "proj_attn"),
            ):
                name = name.replace(f".{new}.", f".{former}.")
        state[name] = tensor.contiguous()
    return state


def same(vae: AutoencoderKL) -> bool:
    own = reference("tiny-vpred").vae.state_dict()
    found = vae.state_dict()
    return own.keys() == found.keys() and all(torch.equal(own[name], found[name]) for name in own)


@pytest.mark.parametrize(
    "make",
    [
        ldm,
        lambda: ldm(PREFIX),
        lambda: load_file(CHECKPOINTS / "tiny-vpred.safetensors"),
        lambda: ldm() | {"loss.logvar": torch.zeros(1), "model_ema.decay": torch.zeros(1)},
        diffusers_layout,
        lambda: diffusers_layout(old=True),
    ],
    ids=["bare", "prefixed", "checkpoint", "leftovers", "diffusers", "old diffusers"],
)
def test_layouts(tmp_path: Path, make: Callable[[], State]) -> None:
    save_file(make(), tmp_path / "a.safetensors")
    assert same(load(tmp_path / "a.safetensors"))


@pytest.mark.parametrize("name", ["a.pt", "a.ckpt"])
def test_pickles_when_allowed(tmp_path: Path, name: str) -> None:
    torch.save({"state_dict": ldm()}, tmp_path / name)
    assert same(load(tmp_path / name, allow_pickle=True))
    with pytest.raises(UnsupportedCheckpoint, match="only when allowed"):
        load(tmp_path / name)


def widened(state: State) -> State:
    return state | {"decoder.conv_in.weight": torch.zeros(32, 16, 3, 3)}


def shallower(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if ".down.3." not in name}


def without(state: State, *parts: str) -> State:
    return {name: tensor for name, tensor in state.items() if not name.startswith(parts)}


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (widened, UnsupportedCheckpoint, "16 channels"),
        (shallower, UnsupportedCheckpoint, "3 levels"),
        (lambda s: without(s, "decoder.conv_out"), CorruptCheckpoint, "missing"),
        (lambda s: without(s, "encoder."), CorruptCheckpoint, "misses the blocks"),
        (lambda s: without(s, "decoder.conv_in"), CorruptCheckpoint, "conv_in"),
        (lambda s: s | {"extra": torch.zeros(1)}, UnsupportedCheckpoint, "no place"),
        (
            lambda s: s | {"quant_conv.weight": torch.zeros(8, 4, 1, 1)},
            CorruptCheckpoint,
            "shape",
        ),
        (
            lambda s: s | {"quant_conv.bias": torch.zeros(8, dtype=torch.int32)},
            UnsupportedCheckpoint,
            "I32",
        ),
        (lambda s: {"loss.a": torch.zeros(1)}, UnsupportedCheckpoint, "no VAE"),
    ],
)
def test_what_is_no_sd1_vae_is_refused(
    tmp_path: Path, change: Callable[[State], State], error: type[Exception], match: str
) -> None:
    save_file(change(ldm()), tmp_path / "a.safetensors")
    with pytest.raises(error, match=match):
        load(tmp_path / "a.safetensors")


def test_a_broken_file_in_diffusers_layout_is_refused(tmp_path: Path) -> None:
    state = diffusers_layout()
    for part in ("decoder.conv_in", "encoder.down_blocks.0.resnets.0.conv1"):
        save_file(without(state, part), tmp_path / "a.safetensors")
        with pytest.raises(CorruptCheckpoint, match="misses"):
            load(tmp_path / "a.safetensors")
