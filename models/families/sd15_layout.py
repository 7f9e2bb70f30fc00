"""The dimensions of an SD1.x checkpoint, from the shapes in its header."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from ..errors import CorruptCheckpoint, UnsupportedCheckpoint
from ..header import Header

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TEXT_ENCODER = "cond_stage_model.transformer."
# Not in the shapes: facts of SD1.x and of OpenAI's CLIP.
UNET_HEADS = 8
CLIP_HEAD_WIDTH = 64

INPUT_BLOCK = re.compile(r"input_blocks\.(\d{1,3})\.")

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnetLayout:
    """Widths, attention and head counts level by level, from the full resolution down."""

    in_channels: int
    out_channels: int
    channels: tuple[int, ...]
    layers: int
    attention: tuple[bool, ...]
    context_width: int
    heads: tuple[int, ...]

    def config(self) -> dict[str, object]:
        """Say it in diffusers' words (whose `attention_head_dim` counts heads)."""
        down = ["CrossAttnDownBlock2D" if has else "DownBlock2D" for has in self.attention]
        up = ["CrossAttnUpBlock2D" if has else "UpBlock2D" for has in reversed(self.attention)]
        same = len(set(self.heads)) == 1
        return {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "block_out_channels": list(self.channels),
            "layers_per_block": self.layers,
            "down_block_types": down,
            "up_block_types": up,
            "cross_attention_dim": self.context_width,
            "attention_head_dim": self.heads[0] if same else list(self.heads),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeLayout:
    """Widths level by level, from the full resolution down."""

    channels: tuple[int, ...]
    layers: int
    latent_channels: int

    def config(self) -> dict[str, object]:
        """Say it in diffusers' words."""
        levels = len(self.channels)
        return {
            "block_out_channels": list(self.channels),
            "layers_per_block": self.layers,
            "latent_channels": self.latent_channels,
            "down_block_types": ["DownEncoderBlock2D"] * levels,
            "up_block_types": ["UpDecoderBlock2D"] * levels,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLayout:
    """The text encoder's dimensions; `activation` is None where the usual one holds."""

    vocabulary: int
    positions: int
    width: int
    inner_width: int
    layers: int
    heads: int
    activation: str | None = None

    def config(self) -> dict[str, object]:
        """Say it in transformers' words."""
        config: dict[str, object] = {
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.positions,
            "hidden_size": self.width,
            "intermediate_size": self.inner_width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "projection_dim": self.width,
        }
        return config if self.activation is None else config | {"hidden_act": self.activation}


def shapes_under(header: Header, prefix: str) -> Shapes:
    """Take the shapes of one part, its prefix removed from the names."""
    return {
        name.removeprefix(prefix): entry.shape
        for name, entry in header.tensors.items()
        if name.startswith(prefix)
    }


def unet_layout(path: Path, header: Header) -> UnetLayout:
    """Read the UNet's dimensions. Raises CorruptCheckpoint."""
    shapes = shapes_under(header, UNET)
    out_channels, _ = _matrix(path, shapes, "out.2.weight")
    width, in_channels = _matrix(path, shapes, "input_blocks.0.0.weight")
    levels: list[list[str]] = [[]]
    blocks_found = {int(found[1]) for name in shapes if (found := INPUT_BLOCK.match(name))}
    for block in range(1, max(blocks_found) + 1):
        if f"input_blocks.{block}.0.op.weight" in shapes:
            levels.append([])
        elif f"input_blocks.{block}.0.in_layers.2.weight" in shapes:
            levels[-1].append(f"input_blocks.{block}")
        else:
            raise CorruptCheckpoint(path, f"misses the UNet's input block {block}")
    if len({len(blocks) for blocks in levels}) != 1 or not levels[0]:
        raise CorruptCheckpoint(path, "the UNet's levels have different numbers of blocks")
    attention = tuple(f"{blocks[0]}.1.norm.weight" in shapes for blocks in levels)
    channels = tuple(
        _matrix(path, shapes, f"{blocks[-1]}.0.out_layers.3.weight")[0] for blocks in levels
    )
    context = "middle_block.1.transformer_blocks.0.attn2.to_k.weight"
    _, context_width = _matrix(path, shapes, context)
    if width % UNET_HEADS:
        raise CorruptCheckpoint(path, f"a UNet of width {width} cannot have {UNET_HEADS} heads")
    return UnetLayout(
        in_channels=in_channels,
        out_channels=out_channels,
        channels=channels,
        layers=len(levels[0]),
        attention=attention,
        context_width=context_width,
        heads=(UNET_HEADS,) * len(channels),
    )


def vae_layout(path: Path, header: Header) -> VaeLayout:
    """Read the autoencoder's dimensions. Raises CorruptCheckpoint and UnsupportedCheckpoint."""
    shapes = shapes_under(header, VAE)
    if not shapes:
        raise UnsupportedCheckpoint(path, "holds no VAE")
    channels: list[int] = []
    while (name := f"encoder.down.{len(channels)}.block.0.conv1.weight") in shapes:
        channels.append(_matrix(path, shapes, name)[0])
    layers = sum(f"encoder.down.0.block.{layer}.conv1.weight" in shapes for layer in range(16))
    _, latent_channels = _matrix(path, shapes, "decoder.conv_in.weight")
    if not channels:
        raise CorruptCheckpoint(path, "the VAE's encoder has no blocks")
    return VaeLayout(channels=tuple(channels), layers=layers, latent_channels=latent_channels)


def text_layout(path: Path, header: Header) -> TextLayout:
    """Read the text encoder's dimensions. Raises CorruptCheckpoint and UnsupportedCheckpoint."""
    shapes = {
        name.removeprefix("text_model."): shape
        for name, shape in shapes_under(header, TEXT_ENCODER).items()
    }
    vocabulary, width = _matrix(path, shapes, "embeddings.token_embedding.weight")
    positions, _ = _matrix(path, shapes, "embeddings.position_embedding.weight")
    inner_width, _ = _matrix(path, shapes, "encoder.layers.0.mlp.fc1.weight")
    layers = next(i for i in count() if f"encoder.layers.{i}.mlp.fc1.weight" not in shapes)
    if width % CLIP_HEAD_WIDTH:
        raise UnsupportedCheckpoint(
            path,
            f"a text encoder of width {width} does not tell its number of heads; a .yaml beside "
            "the file must name a folder with its config.json",
        )
    return TextLayout(
        vocabulary=vocabulary,
        positions=positions,
        width=width,
        inner_width=inner_width,
        layers=layers,
        heads=width // CLIP_HEAD_WIDTH,
    )


def _matrix(path: Path, shapes: Shapes, name: str) -> tuple[int, int]:
    """Return (out, in) of a matrix or of a convolution's kernel."""
    shape = shapes.get(name, ())
    if len(shape) < 2:
        raise CorruptCheckpoint(path, f"misses the tensor {name!r}, or it has the wrong shape")
    return shape[0], shape[1]
