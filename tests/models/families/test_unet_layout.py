from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from models.errors import CorruptCheckpoint, UnsupportedCheckpoint
from models.families.shapes import Shapes, shapes_under
from models.families.unet_layout import UnetLayout, diffusers_unet, ldm_unet
from models.header import read_header

from ..files import CHECKPOINTS
from .ldm_layout import UNET, sd15_header
from .tiny_xl import TRUE, header

PATH = Path("/models/some.safetensors")
CROSS_DOWN, CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"


def sd15(**changes: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """SD1.5's shapes; `a__b` stands for the name `a.b`."""
    renamed = {name.replace("__", "."): shape for name, shape in changes.items()}
    return dict(shapes_under(sd15_header(), UNET)) | renamed


def true(kind: str) -> UnetLayout:
    return ldm_unet(PATH, shapes_under(header(TRUE[kind]), UNET), heads=None)


def test_the_true_sd15() -> None:
    assert ldm_unet(PATH, sd15(), heads=8).config() == {
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [320, 640, 1280, 1280],
        "layers_per_block": 2,
        "down_block_types": [*[CROSS_DOWN] * 3, "DownBlock2D"],
        "up_block_types": ["UpBlock2D", *[CROSS_UP] * 3],
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
        "norm_num_groups": 32,
        "use_linear_projection": False,
        "transformer_layers_per_block": [1, 1, 1, 1],
        "reverse_transformer_layers_per_block": [0, 1, 1, 1],
    }


def test_the_true_sdxl() -> None:
    assert true("sdxl").config() == {
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [320, 640, 1280],
        "layers_per_block": 2,
        "down_block_types": ["DownBlock2D", CROSS_DOWN, CROSS_DOWN],
        "up_block_types": [CROSS_UP, CROSS_UP, "UpBlock2D"],
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "cross_attention_dim": 2048,
        "attention_head_dim": [5, 10, 20],
        "norm_num_groups": 32,
        "use_linear_projection": True,
        "transformer_layers_per_block": [0, 2, 10],
        "reverse_transformer_layers_per_block": [10, 2, 0],
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    }


def test_the_true_refiner() -> None:
    config = true("refiner").config()
    assert config["block_out_channels"] == [384, 768, 1536, 1536]
    assert config["attention_head_dim"] == [6, 12, 24, 24]
    assert config["down_block_types"] == ["DownBlock2D", CROSS_DOWN, CROSS_DOWN, "DownBlock2D"]
    # the last is the middle's, which stands below a level without any
    assert config["transformer_layers_per_block"] == [0, 4, 4, 4]
    assert config["projection_class_embeddings_input_dim"] == 2560


def test_the_true_ssd_1b() -> None:
    config = true("ssd-1b").config()
    assert config["mid_block_type"] == "UNetMidBlock2D"
    assert config["transformer_layers_per_block"] == [0, 2, 4]
    assert config["reverse_transformer_layers_per_block"] == [[4, 4, 10], [2, 1, 1], 0]


def test_the_true_sd2() -> None:
    found = true("sd2")
    assert (found.heads, found.linear, found.vector_width) == ((5, 10, 20, 20), True, None)
    assert found.context_width == 1024


@pytest.mark.parametrize(
    ("kind", "channels"), [("sdxl-inpainting", 9), ("sdxl-edit", 8), ("sd2-inpainting", 9)]
)
def test_more_channels_than_latents(kind: str, channels: int) -> None:
    assert true(kind).in_channels == channels


@pytest.mark.parametrize("kind", list(TRUE))
def test_diffusers_names_tell_the_same(kind: str) -> None:
    found = true(kind)
    with torch.device("meta"):
        module = UNet2DConditionModel(**found.config())
    shapes: Shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    assert diffusers_unet(PATH, shapes, heads=None) == found


def test_a_unet_without_a_middle() -> None:
    shapes = shapes_under(header(TRUE["sdxl"]), UNET)
    shapes = {name: shape for name, shape in shapes.items() if not name.startswith("middle_block.")}
    found = ldm_unet(PATH, shapes, heads=None)
    assert found.middle is None
    assert found.config()["mid_block_type"] is None


def test_a_reference_checkpoint() -> None:
    shapes = shapes_under(read_header(CHECKPOINTS / "tiny-sd15.safetensors"), UNET)
    found = ldm_unet(PATH, shapes, heads=8)
    assert (found.channels, found.layers, found.context_width) == ((32, 32, 64, 64), 2, 16)
    assert found.attention == found.up_attention == (True, True, True, False)


@pytest.mark.parametrize(
    ("gone", "reason"),
    [
        ("out.2.", "out.2.weight"),
        ("middle_block.1", "transformers under 'middle_block.1'"),
        ("input_blocks.0.", "input_blocks.0.0.weight"),
        ("input_blocks.2.", "input block 2"),
        ("input_blocks.1.", "input block 1"),
        ("input_blocks.11.", "different numbers of blocks"),
    ],
)
def test_a_file_with_holes_is_damaged(gone: str, reason: str) -> None:
    shapes = {name: shape for name, shape in sd15().items() if not name.startswith(gone)}
    with pytest.raises(CorruptCheckpoint, match=reason):
        ldm_unet(PATH, shapes, heads=8)


@pytest.mark.parametrize("gone", ["down_blocks.", "down_blocks.1.resnets.1.", "conv_in."])
def test_holes_in_diffusers_names_are_damage(gone: str) -> None:
    with torch.device("meta"):
        module = UNet2DConditionModel(**true("sdxl").config())
    names = {n: tuple(t.shape) for n, t in module.state_dict().items() if not n.startswith(gone)}
    with pytest.raises(CorruptCheckpoint):
        diffusers_unet(PATH, names, heads=None)


def test_a_middle_that_diffusers_cannot_say_is_not_supported() -> None:
    shapes = {
        name: shape
        for name, shape in shapes_under(header(TRUE["sdxl"]), UNET).items()
        if not name.startswith("middle_block.1.transformer_blocks.9.")
    }
    with pytest.raises(UnsupportedCheckpoint, match="9 transformers in its middle, but 10"):
        ldm_unet(PATH, shapes, heads=None)


def test_a_weight_of_the_wrong_rank_is_damage() -> None:
    with pytest.raises(CorruptCheckpoint, match="wrong shape"):
        ldm_unet(PATH, sd15(input_blocks__0__0__weight=(320,)), heads=8)


def test_a_width_that_eight_heads_cannot_share_is_damage() -> None:
    with pytest.raises(CorruptCheckpoint, match="321"):
        ldm_unet(PATH, sd15(input_blocks__0__0__weight=(321, 4, 3, 3)), heads=8)
