from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL

from models.errors import CorruptCheckpoint, UnsupportedCheckpoint
from models.families.shapes import Shapes, shapes_under
from models.families.vae_layout import diffusers_key, in_diffusers_names, vae_layout
from models.header import read_header

from ..files import CHECKPOINTS
from .ldm_layout import VAE, sd15_header

PATH = Path("/models/some.safetensors")
TRUE: Shapes = shapes_under(sd15_header(), VAE)


def test_the_true_vae() -> None:
    assert not in_diffusers_names(TRUE)
    assert vae_layout(PATH, TRUE).config() == {
        "block_out_channels": [128, 256, 512, 512],
        "layers_per_block": 2,
        "latent_channels": 4,
        "norm_num_groups": 32,
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
    }


def test_diffusers_names_tell_the_same() -> None:
    found = vae_layout(PATH, TRUE)
    with torch.device("meta"):
        module = AutoencoderKL(**found.config())
    shapes: Shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    assert in_diffusers_names(shapes)
    assert vae_layout(PATH, shapes) == found


def test_a_reference_checkpoint() -> None:
    shapes = shapes_under(read_header(CHECKPOINTS / "tiny-sd15.safetensors"), VAE)
    assert vae_layout(PATH, shapes).channels == (32, 64, 32, 32)


@pytest.mark.parametrize(
    ("gone", "reason"),
    [
        ("decoder.conv_in", "decoder.conv_in.weight"),
        ("encoder.down.0.", "misses the blocks of the VAE's encoder"),
    ],
)
def test_a_file_with_holes_is_damaged(gone: str, reason: str) -> None:
    shapes = {name: shape for name, shape in TRUE.items() if not name.startswith(gone)}
    with pytest.raises(CorruptCheckpoint, match=reason):
        vae_layout(PATH, shapes)


def test_a_file_without_a_vae_is_not_supported() -> None:
    with pytest.raises(UnsupportedCheckpoint, match="no VAE"):
        vae_layout(PATH, {})


@pytest.mark.parametrize(
    ("name", "mapped"),
    [
        ("encoder.mid_block.attentions.0.query.weight", "to_q.weight"),
        ("encoder.mid_block.attentions.0.proj_attn.bias", "to_out.0.bias"),
        ("encoder.mid_block.attentions.0.to_v.bias", "to_v.bias"),
    ],
)
def test_attention_has_its_present_names(name: str, mapped: str) -> None:
    assert diffusers_key(name) == f"encoder.mid_block.attentions.0.{mapped}"
