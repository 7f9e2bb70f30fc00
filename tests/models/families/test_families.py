from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.errors import CheckpointError, CheckpointNotFound, UnsupportedCheckpoint
from models.families import FAMILIES, check, sd15
from models.header import Header, read_header

from ..files import CHECKPOINTS, one_tensor, sidecar_text
from .ldm_layout import sd15_header
from .variants import info_of, load_path


def test_the_families_know_their_own_files() -> None:
    assert [family.name for family in FAMILIES] == ["SD1.x"]
    assert sd15.detect(sd15_header())
    assert sd15.detect(read_header(CHECKPOINTS / "tiny-sd15.safetensors"))
    assert not sd15.detect(Header(tensors={}, metadata={}))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("conditioner.embedders.1.model.logit_scale", "a Stable Diffusion XL checkpoint"),
        ("lora_unet_x.lora_down.weight", "a LoRA"),
    ],
)
def test_another_family_is_named_with_what_is_supported(
    tmp_path: Path, name: str, kind: str
) -> None:
    path = one_tensor(tmp_path / "a.safetensors", name=name)
    with pytest.raises(UnsupportedCheckpoint, match=f"{kind}; supported today: SD1.x"):
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
    with pytest.raises(CheckpointError, match="no kind known here"):
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
