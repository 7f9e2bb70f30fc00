from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.errors import CheckpointError, CheckpointNotFound, UnsupportedCheckpoint
from models.families import FAMILIES, check
from models.header import Header, read_header
from models.identify import identify

from ..files import CHECKPOINTS, one_tensor, sidecar_text
from . import tiny_xl
from .ldm_layout import sd15_header
from .variants import State, changed, info_of, load_path


@pytest.mark.parametrize(
    ("header", "family"),
    [
        (sd15_header(), "SD1.x"),
        (read_header(CHECKPOINTS / "tiny-sd15.safetensors"), "SD1.x"),
        (tiny_xl.header(tiny_xl.TRUE["sd2"]), "SD2"),
        (tiny_xl.header(tiny_xl.TRUE["sdxl"]), "SDXL"),
        (tiny_xl.header(tiny_xl.TRUE["refiner"]), "SDXL"),
        (Header(tensors={}, metadata={}), None),
    ],
)
def test_each_file_belongs_to_one_family(header: Header, family: str | None) -> None:
    kind = identify(header)
    assert [row.name for row in FAMILIES if row.detect(kind)] == ([family] if family else [])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", "SD3 medium: of a"),
        ("lora_unet_x.lora_down.weight", "a LoRA: belongs in models/Lora"),
    ],
)
def test_what_is_no_checkpoint_is_named_with_what_is_supported(
    tmp_path: Path, name: str, kind: str
) -> None:
    path = one_tensor(tmp_path / "a.safetensors", name=name)
    with pytest.raises(UnsupportedCheckpoint, match=f"{kind}.*; checkpoints supported: SD1.x, SD2"):
        load_path(path)
    with pytest.raises(UnsupportedCheckpoint, match=kind):
        check(info_of(path))


def test_check_refuses_by_the_header_alone(tmp_path: Path) -> None:
    check(info_of(CHECKPOINTS / "tiny-vpred.safetensors"))
    with pytest.raises(CheckpointNotFound):
        check(info_of(tmp_path / "gone.safetensors"))
    # Nothing is known of a pickle before it is read, so nothing is said against it.
    check(info_of(tmp_path / "gone.ckpt"))
    path = one_tensor(tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="a file of no known kind"):
        check(info_of(path))


def test_an_allowed_pickle_loads_like_its_safetensors(tmp_path: Path) -> None:
    from_file = load_path(CHECKPOINTS / "tiny-vpred.safetensors")
    path = tmp_path / "old.ckpt"
    with path.open("wb") as file:
        torch.save({"state_dict": load_file(CHECKPOINTS / "tiny-vpred.safetensors")}, file)
    path.with_suffix(".yaml").write_text(sidecar_text("tiny-vpred"))
    from_pickle = load_path(path, allow_pickle=True)
    for name, parameter in from_file.unet.state_dict().items():
        assert torch.equal(parameter, from_pickle.unet.state_dict()[name]), name


def test_fp8_and_averaged_weights_beside_are_loaded_as_they_say(tmp_path: Path) -> None:
    def small(state: State) -> State:
        unet = "model.diffusion_model."
        eight = {
            name: tensor.to(torch.float8_e4m3fn) if name.startswith(unet) else tensor
            for name, tensor in state.items()
        }
        ema = {
            "model_ema." + name.removeprefix("model.").replace(".", ""): tensor + 1
            for name, tensor in state.items()
            if name.startswith(unet)
        }
        return eight | ema | {"model_ema.decay": torch.tensor(0.999)}

    path = changed(tmp_path, small)
    kind = identify(read_header(path))
    assert (kind.name, kind.ema, kind.reason) == ("SD1", True, None)
    assert set(kind.storage) >= {"F8_E4M3"}
    from_file = load_path(path)
    wanted = load_path(CHECKPOINTS / "tiny-vpred.safetensors").unet.state_dict()
    for name, parameter in from_file.unet.state_dict().items():
        rounded = wanted[name].to(torch.float8_e4m3fn).float()
        assert torch.equal(parameter, rounded), name
