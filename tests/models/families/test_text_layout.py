from pathlib import Path

import pytest

from models.errors import CorruptCheckpoint, UnsupportedCheckpoint
from models.families.shapes import Shapes, shapes_under
from models.families.text_layout import clip_layout, open_clip_layout
from models.header import read_header

from ..files import CHECKPOINTS
from .ldm_layout import sd15_header
from .tiny_xl import TRUE, header

PATH = Path("/models/some.safetensors")
CLIP = "cond_stage_model.transformer."
SD15: Shapes = shapes_under(sd15_header(), CLIP)


def test_the_true_clip() -> None:
    found = clip_layout(PATH, SD15)
    assert found.config() == {
        "vocab_size": 49408,
        "max_position_embeddings": 77,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "projection_dim": 768,
    }
    bare = {name.removeprefix("text_model."): shape for name, shape in SD15.items()}
    assert clip_layout(PATH, bare) == found
    projected = clip_layout(PATH, {**bare, "text_projection.weight": (512, 768)})
    assert projected.projection == 512
    assert projected.config()["projection_dim"] == 512


@pytest.mark.parametrize(
    ("kind", "prefix", "width", "layers", "heads"),
    [
        ("sd2", "cond_stage_model.model.", 1024, 24, 16),
        ("sdxl", "conditioner.embedders.1.model.", 1280, 32, 20),
        ("refiner", "conditioner.embedders.0.model.", 1280, 32, 20),
    ],
)
def test_the_true_open_clips(kind: str, prefix: str, width: int, layers: int, heads: int) -> None:
    found = open_clip_layout(PATH, shapes_under(header(TRUE[kind]), prefix))
    assert (found.width, found.inner_width, found.projection) == (width, 4 * width, width)
    assert (found.layers, found.heads, found.positions) == (layers, heads, 77)
    assert found.config()["hidden_act"] == "gelu"


def test_heads_that_no_width_tells_must_be_said() -> None:
    shapes = shapes_under(read_header(CHECKPOINTS / "tiny-sd15.safetensors"), CLIP)
    with pytest.raises(UnsupportedCheckpoint, match=r"width 16 .* number of heads"):
        clip_layout(PATH, shapes)
    assert clip_layout(PATH, shapes, 4).heads == 4


def test_a_file_with_holes_is_damaged() -> None:
    with pytest.raises(CorruptCheckpoint, match=r"embeddings\.token_embedding\.weight"):
        clip_layout(PATH, {})
    with pytest.raises(CorruptCheckpoint, match="positional_embedding"):
        open_clip_layout(PATH, {"token_embedding.weight": (49408, 64)})
