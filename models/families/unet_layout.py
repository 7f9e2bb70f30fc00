"""The dimensions of a checkpoint's UNet, from the shapes in its header.

They are read from LDM's names or from diffusers'. Depths are how many transformers stand one upon
the other behind a layer, 0 where none does: 1 in SD1 and SD2, and per level 0, 2, 10 in SDXL
(https://arxiv.org/abs/2307.01952, table 1); SSD-1B leaves out some of SDXL's, each layer its own.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import CorruptCheckpoint, UnsupportedCheckpoint
from .shapes import USUAL_GROUPS, Shapes, counted, matrix

#: heads of attention are that wide in SD2 and SDXL, whatever the level
HEAD_WIDTH = 64
#: how many numbers each size is spread over before it guides SDXL
NUMBER_WIDTH = 256
INPUT_BLOCK = re.compile(r"input_blocks\.(\d{1,3})\.")

Depths = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnetLayout:
    """Widths, depths and head counts level by level, from the full resolution down.

    `down` and `up` have each layer's depth. `middle` is 0 where the middle is one resnet alone, and
    None where there is no middle. `linear` transformers are entered by a matrix instead of a
    convolution; `vector_width` is that of the pooled text and the sizes, None where it takes none.
    """

    in_channels: int
    out_channels: int
    channels: tuple[int, ...]
    layers: int
    down: Depths
    up: Depths
    middle: int | None
    context_width: int
    heads: tuple[int, ...]
    linear: bool = False
    vector_width: int | None = None
    groups: int = USUAL_GROUPS

    @property
    def attention(self) -> tuple[bool, ...]:
        """Which levels have transformers."""
        return tuple(any(level) for level in self.down)

    @property
    def up_attention(self) -> tuple[bool, ...]:
        """Which levels have transformers on their way up."""
        return tuple(any(level) for level in self.up)

    def config(self) -> dict[str, object]:
        """Say it in diffusers' words (whose `attention_head_dim` counts heads)."""
        down = ["CrossAttnDownBlock2D" if has else "DownBlock2D" for has in self.attention]
        up = ["CrossAttnUpBlock2D" if has else "UpBlock2D" for has in reversed(self.up_attention)]
        depths = [_short(level) for level in self.down]
        if not self.attention[-1] and self.middle:
            # the last of them is the middle's too
            depths[-1] = self.middle
        config: dict[str, object] = {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "block_out_channels": list(self.channels),
            "layers_per_block": self.layers,
            "down_block_types": down,
            "up_block_types": up,
            "mid_block_type": self._middle_type(),
            "cross_attention_dim": self.context_width,
            "attention_head_dim": _short(self.heads),
            "norm_num_groups": self.groups,
            "use_linear_projection": self.linear,
            "transformer_layers_per_block": depths,
            "reverse_transformer_layers_per_block": [_short(level) for level in reversed(self.up)],
        }
        if self.vector_width is None:
            return config
        return config | {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": NUMBER_WIDTH,
            "projection_class_embeddings_input_dim": self.vector_width,
        }

    def _middle_type(self) -> str | None:
        if self.middle is None:
            return None
        return "UNetMidBlock2DCrossAttn" if self.middle else "UNetMidBlock2D"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """Where a UNet's names say what must be known; transformers as `down` and `up` are."""

    first: str
    last: str
    vector: str
    widths: Sequence[str]
    down: Sequence[Sequence[str]]
    up: Sequence[Sequence[str]]
    middle: str
    middle_resnets: Sequence[str]


def ldm_unet(path: Path, shapes: Shapes, *, heads: int | None) -> UnetLayout:
    """Read the dimensions from LDM's names.

    `heads` is how many every level has, None where they are HEAD_WIDTH wide. Raises
    CorruptCheckpoint and UnsupportedCheckpoint.
    """
    first = "input_blocks.0.0.weight"
    matrix(path, shapes, "out.2.weight")
    matrix(path, shapes, first)
    levels: list[list[str]] = [[]]
    found = {int(match[1]) for name in shapes if (match := INPUT_BLOCK.match(name))}
    for block in range(1, max(found) + 1):
        if f"input_blocks.{block}.0.op.weight" in shapes:
            levels.append([])
        elif f"input_blocks.{block}.0.in_layers.2.weight" in shapes:
            levels[-1].append(f"input_blocks.{block}")
        else:
            raise CorruptCheckpoint(path, f"misses the UNet's input block {block}")
    layers = _layers(path, [len(blocks) for blocks in levels])
    stages = range(len(levels) - 1, -1, -1)
    places = _Places(
        first=first,
        last="out.2.weight",
        vector="label_emb.0.0.weight",
        widths=[f"{blocks[-1]}.0.out_layers.3.weight" for blocks in levels],
        down=[[f"{block}.1" for block in blocks] for blocks in levels],
        up=[
            [f"output_blocks.{stage * (layers + 1) + layer}.1" for layer in range(layers + 1)]
            for stage in stages
        ],
        middle="middle_block.1",
        middle_resnets=[f"middle_block.{part}.in_layers.2.weight" for part in (0, 2)],
    )
    return _layout(path, shapes, places, layers=layers, heads=heads)


def diffusers_unet(path: Path, shapes: Shapes, *, heads: int | None) -> UnetLayout:
    """Read the dimensions from diffusers' names, else as `ldm_unet` does."""
    levels = counted(shapes, "down_blocks.{}.resnets.0.conv1.weight")
    counts = [
        counted(shapes, f"down_blocks.{level}.resnets.{{}}.conv1.weight") for level in range(levels)
    ]
    layers = _layers(path, counts)
    stages = range(levels - 1, -1, -1)
    places = _Places(
        first="conv_in.weight",
        last="conv_out.weight",
        vector="add_embedding.linear_1.weight",
        widths=[
            f"down_blocks.{level}.resnets.{layers - 1}.conv2.weight" for level in range(levels)
        ],
        down=[
            [f"down_blocks.{level}.attentions.{layer}" for layer in range(layers)]
            for level in range(levels)
        ],
        up=[
            [f"up_blocks.{stage}.attentions.{layer}" for layer in range(layers + 1)]
            for stage in stages
        ],
        middle="mid_block.attentions.0",
        middle_resnets=[f"mid_block.resnets.{number}.conv1.weight" for number in range(2)],
    )
    return _layout(path, shapes, places, layers=layers, heads=heads)


def _layers(path: Path, counts: Sequence[int]) -> int:
    if len(set(counts)) != 1 or 0 in counts:
        raise CorruptCheckpoint(path, "the UNet's levels have different numbers of blocks")
    return counts[0]


def _layout(
    path: Path, shapes: Shapes, places: _Places, *, layers: int, heads: int | None
) -> UnetLayout:
    down, up = (
        tuple(tuple(_depth(shapes, place) for place in level) for level in side)
        for side in (places.down, places.up)
    )
    middle = _middle(path, shapes, places)
    if any(down[-1]) and middle and middle != down[-1][0]:
        raise UnsupportedCheckpoint(
            path, f"a UNet with {middle} transformers in its middle, but {down[-1][0]} above it"
        )
    inside = [place for level in (*places.down, *places.up) for place in level]
    place = next((each for each in inside if _depth(shapes, each)), places.middle)
    _, context = matrix(path, shapes, f"{place}.transformer_blocks.0.attn2.to_k.weight")
    channels = tuple(matrix(path, shapes, name)[0] for name in places.widths)
    out_channels, _ = matrix(path, shapes, places.last)
    width, in_channels = matrix(path, shapes, places.first)
    if heads is not None and width % heads:
        raise CorruptCheckpoint(path, f"a UNet of width {width} cannot have {heads} heads")
    return UnetLayout(
        in_channels=in_channels,
        out_channels=out_channels,
        channels=channels,
        layers=layers,
        down=down,
        up=up,
        middle=middle,
        context_width=context,
        heads=tuple(heads or max(1, wide // HEAD_WIDTH) for wide in channels),
        linear=len(shapes.get(f"{place}.proj_in.weight", ())) == 2,
        vector_width=matrix(path, shapes, places.vector)[1] if places.vector in shapes else None,
    )


def _middle(path: Path, shapes: Shapes, places: _Places) -> int | None:
    first, second = (name in shapes for name in places.middle_resnets)
    depth = _depth(shapes, places.middle)
    if second and not depth:
        raise CorruptCheckpoint(path, f"misses the UNet's transformers under {places.middle!r}")
    return depth if first or depth else None


def _depth(shapes: Shapes, place: str) -> int:
    return counted(shapes, f"{place}.transformer_blocks.{{}}.norm1.weight")


def _short(values: tuple[int, ...]) -> int | list[int]:
    """One number where all are the same, as diffusers allows."""
    return values[0] if len(set(values)) == 1 else list(values)
