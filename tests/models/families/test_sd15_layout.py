from pathlib import Path

import pytest

from models.errors import CorruptCheckpoint, UnsupportedCheckpoint
from models.families import sd15_layout
from models.header import Header, TensorEntry, read_header

from ..files import CHECKPOINTS
from .ldm_layout import UNET, VAE, sd15_header

PATH = Path("/models/some.safetensors")


def without(header: Header, *starts: str) -> Header:
    kept = {n: e for n, e in header.tensors.items() if not n.startswith(starts)}
    return Header(tensors=kept, metadata={})


def test_the_true_sd15_is_read_from_its_header_alone() -> None:
    header = sd15_header()
    unet = sd15_layout.unet_layout(PATH, header)
    assert unet.config() == {
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [320, 640, 1280, 1280],
        "layers_per_block": 2,
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
    }
    assert sd15_layout.vae_layout(PATH, header).config() == {
        "block_out_channels": [128, 256, 512, 512],
        "layers_per_block": 2,
        "latent_channels": 4,
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
    }
    assert sd15_layout.text_layout(PATH, header).config() == {
        "vocab_size": 49408,
        "max_position_embeddings": 77,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "projection_dim": 768,
    }


def test_the_inpainting_model_has_nine_channels() -> None:
    assert sd15_layout.unet_layout(PATH, sd15_header(in_channels=9)).in_channels == 9


def test_a_reference_checkpoints_unet_and_vae_are_read_from_the_header() -> None:
    header = read_header(CHECKPOINTS / "tiny-sd15.safetensors")
    unet = sd15_layout.unet_layout(PATH, header)
    assert (unet.channels, unet.layers, unet.context_width) == ((32, 32, 64, 64), 2, 16)
    assert unet.attention == (True, True, True, False)
    assert sd15_layout.vae_layout(PATH, header).channels == (32, 64, 32, 32)
    with pytest.raises(UnsupportedCheckpoint, match=r"width 16 .* number of heads"):
        sd15_layout.text_layout(PATH, header)


@pytest.mark.parametrize(
    ("gone", "reason"),
    [
        (f"{UNET}out.2.", "out.2.weight"),
        (f"{UNET}middle_block.1", "attn2.to_k"),
        (f"{UNET}input_blocks.2.", "input block 2"),
        (f"{UNET}input_blocks.1.", "input block 1"),
        (f"{UNET}input_blocks.11.", "different numbers of blocks"),
        (f"{VAE}decoder.conv_in", "decoder.conv_in.weight"),
        (f"{VAE}encoder.down.0.", "no blocks"),
    ],
)
def test_a_file_with_holes_is_damaged(gone: str, reason: str) -> None:
    header = without(sd15_header(), gone)
    with pytest.raises(CorruptCheckpoint, match=reason):
        sd15_layout.unet_layout(PATH, header)
        sd15_layout.vae_layout(PATH, header)


def test_a_file_without_a_vae_is_not_supported() -> None:
    with pytest.raises(UnsupportedCheckpoint, match="no VAE"):
        sd15_layout.vae_layout(PATH, without(sd15_header(), VAE))


def test_a_weight_of_the_wrong_rank_is_damage() -> None:
    header = sd15_header()
    name = f"{UNET}input_blocks.0.0.weight"
    flat = {**header.tensors, name: TensorEntry(dtype="F16", shape=(320,))}
    with pytest.raises(CorruptCheckpoint, match="wrong shape"):
        sd15_layout.unet_layout(PATH, Header(tensors=flat, metadata={}))


def test_a_width_that_eight_heads_cannot_share_is_damage() -> None:
    header = sd15_header()
    name = f"{UNET}input_blocks.0.0.weight"
    odd = {**header.tensors, name: TensorEntry(dtype="F16", shape=(321, 4, 3, 3))}
    with pytest.raises(CorruptCheckpoint, match="321"):
        sd15_layout.unet_layout(PATH, Header(tensors=odd, metadata={}))
