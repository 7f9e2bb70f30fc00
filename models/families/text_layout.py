"""The dimensions of a text encoder, from the shapes in a header."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import UnsupportedCheckpoint
from .shapes import Shapes, counted, matrix

#: Not in the shapes: every CLIP that guides a UNet here has heads of this width.
HEAD_WIDTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLayout:
    """The text encoder's dimensions; `activation` is None where OpenAI's holds.

    `projection` is the width of the pooled text, None where the encoder gives none.
    """

    vocabulary: int
    positions: int
    width: int
    inner_width: int
    layers: int
    heads: int
    activation: str | None = None
    projection: int | None = None

    def config(self) -> dict[str, object]:
        """Say it in transformers' words."""
        config: dict[str, object] = {
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.positions,
            "hidden_size": self.width,
            "intermediate_size": self.inner_width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "projection_dim": self.projection or self.width,
        }
        return config if self.activation is None else config | {"hidden_act": self.activation}


def clip_layout(path: Path, shapes: Shapes, heads: int | None = None) -> TextLayout:
    """Read the dimensions from transformers' names, with or without their `text_model.` level.

    `heads` are as many as something else says. Raises CorruptCheckpoint and UnsupportedCheckpoint.
    """
    shapes = {name.removeprefix("text_model."): shape for name, shape in shapes.items()}
    vocabulary, width = matrix(path, shapes, "embeddings.token_embedding.weight")
    positions, _ = matrix(path, shapes, "embeddings.position_embedding.weight")
    inner_width, _ = matrix(path, shapes, "encoder.layers.0.mlp.fc1.weight")
    return TextLayout(
        vocabulary=vocabulary,
        positions=positions,
        width=width,
        inner_width=inner_width,
        layers=counted(shapes, "encoder.layers.{}.mlp.fc1.weight"),
        heads=heads or _heads(path, width),
        projection=_projection(shapes.get("text_projection.weight")),
    )


def open_clip_layout(path: Path, shapes: Shapes) -> TextLayout:
    """Read the dimensions from OpenCLIP's names (https://github.com/mlfoundations/open_clip).

    Raises CorruptCheckpoint and UnsupportedCheckpoint.
    """
    vocabulary, width = matrix(path, shapes, "token_embedding.weight")
    positions, _ = matrix(path, shapes, "positional_embedding")
    inner_width, _ = matrix(path, shapes, "transformer.resblocks.0.mlp.c_fc.weight")
    return TextLayout(
        vocabulary=vocabulary,
        positions=positions,
        width=width,
        inner_width=inner_width,
        layers=counted(shapes, "transformer.resblocks.{}.mlp.c_fc.weight"),
        heads=_heads(path, width),
        activation="gelu",
        projection=_projection(tuple(reversed(shapes.get("text_projection", ())))),
    )


def _projection(shape: tuple[int, ...] | None) -> int | None:
    return shape[0] if shape else None


def _heads(path: Path, width: int) -> int:
    if width % HEAD_WIDTH:
        raise UnsupportedCheckpoint(
            path,
            f"a text encoder of width {width} does not tell its number of heads; a .yaml beside "
            "the file must name a folder with its config.json",
        )
    return width // HEAD_WIDTH
