"""The shape of a UNet in a header, in the names of LDM's code or of diffusers'; torch-free."""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..header import Header
from .kind import Layout

#: the prefixes under which whole checkpoints keep it
PREFIXES: Mapping[Layout, str] = {"ldm": "model.diffusion_model.", "diffusers": "unet."}
FIRST: Mapping[Layout, str] = {"ldm": "input_blocks.0.0.weight", "diffusers": "conv_in.weight"}
#: parts of any UNet, one of which at least stands beside its first layer
BESIDE: Mapping[Layout, tuple[str, ...]] = {
    "ldm": ("time_embed.0.weight", "out.2.weight", "middle_block.0.in_layers.2.weight"),
    "diffusers": ("time_embedding.linear_1.weight", "mid_block.resnets.0.time_emb_proj.weight"),
}
LAST: Mapping[Layout, str] = {"ldm": "out.2.weight", "diffusers": "conv_out.weight"}
#: vectors that are added to the time's: pooled text and sizes, or an image's
CLASS_VECTOR = "class_embedding.linear_1.weight"
VECTOR = ("label_emb.0.0.weight", "add_embedding.linear_1.weight", CLASS_VECTOR)
#: a table of noise levels (the x4 upscaler)
CLASSES = ("label_emb.weight", "class_embedding.weight")
TEMPORAL = ("time_stack.", "temporal_transformer_block", "temporal_res_block")

_DEPTH = r"transformer_blocks\.(\d{1,3})\.attn2\.to_k\.weight"
_LDM_BLOCK = re.compile(r"input_blocks\.(\d{1,3})\.0\.in_layers\.2\.weight")
_LDM_DOWN = re.compile(r"input_blocks\.(\d{1,3})\.0\.op\.weight")
_LDM_DEPTH = re.compile(r"input_blocks\.(\d{1,3})\.1\." + _DEPTH)
_LDM_MIDDLE = re.compile(r"middle_block\.1\." + _DEPTH)
_BLOCK = re.compile(r"down_blocks\.(\d{1,3})\.resnets\.\d{1,3}\.conv1\.weight")
_BLOCK_DEPTH = re.compile(r"down_blocks\.(\d{1,3})\.attentions\.\d{1,3}\." + _DEPTH)
_MIDDLE = re.compile(r"mid_block\.attentions\.0\." + _DEPTH)

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unet:
    """A UNet's dimensions; 0 or None is what it does not have.

    `depths` are the transformers of a block, level by level from the full resolution down, `layers`
    the first level's blocks, `middle` the depth of the middle; `context` is the width of the text
    it reads, `vector` that of what is added to the time, and `by_class` says that diffusers counts
    that as a class (an image's, not a text's). `linear` ones have matrices where others
    have 1x1 convolutions around their transformers.
    """

    prefix: str
    layout: Layout
    in_channels: int
    out_channels: int | None
    layers: int
    depths: tuple[int, ...]
    middle: int
    context: int | None
    vector: int | None
    by_class: bool
    classes: bool
    linear: bool
    temporal: bool


def find_unet(header: Header) -> Unet | None:
    """Find the file's UNet; None where its first layer is not there or is no convolution."""
    found = [
        (name.removesuffix(first), layout)
        for layout, first in FIRST.items()
        for name in header.tensors
        if name.endswith(first) and _is_unet(header, name.removesuffix(first), layout)
    ]
    if not found:
        return None
    usual = [(prefix, layout) for prefix, layout in found if prefix == PREFIXES[layout]]
    prefix, layout = (usual or found)[0]
    shapes = {
        name.removeprefix(prefix): entry.shape
        for name, entry in header.tensors.items()
        if name.startswith(prefix)
    }
    return _read(shapes, prefix, layout)


def _is_unet(header: Header, prefix: str, layout: Layout) -> bool:
    first = header.tensors[prefix + FIRST[layout]].shape
    beside = any(prefix + name in header.tensors for name in BESIDE[layout])
    whole = not prefix or prefix.endswith(".")
    return len(first) == 4 and whole and beside


def _read(shapes: Shapes, prefix: str, layout: Layout) -> Unet:
    levels = _ldm_levels(shapes) if layout == "ldm" else _levels(shapes)
    reading = next((shape for name, shape in shapes.items() if ".attn2.to_k." in name), ())
    around = next((shape for name, shape in shapes.items() if name.endswith("proj_in.weight")), ())
    middle = _LDM_MIDDLE if layout == "ldm" else _MIDDLE
    last = shapes.get(LAST[layout], ())
    return Unet(
        prefix=prefix,
        layout=layout,
        in_channels=shapes[FIRST[layout]][1],
        out_channels=last[0] if last else None,
        layers=levels[0][0] if levels else 0,
        depths=tuple(depth for _, depth in levels),
        middle=max((int(hit[1]) + 1 for hit in _hits(middle, shapes)), default=0),
        context=reading[1] if len(reading) == 2 else None,
        vector=next((shapes[n][1] for n in VECTOR if len(shapes.get(n, ())) == 2), None),
        by_class=CLASS_VECTOR in shapes,
        classes=any(name in shapes for name in CLASSES),
        linear=len(around) == 2,
        temporal=any(mark in name for name in shapes for mark in TEMPORAL),
    )


def _ldm_levels(shapes: Shapes) -> list[tuple[int, int]]:
    """Each level's blocks and depth; the blocks are numbered through, downsampling ends a level."""
    ends = sorted(int(hit[1]) for hit in _hits(_LDM_DOWN, shapes))
    levels = [(0, 0)] * (len(ends) + 1)
    for hit in _hits(_LDM_BLOCK, shapes):
        level = bisect_left(ends, int(hit[1]))
        levels[level] = (levels[level][0] + 1, levels[level][1])
    for hit in _hits(_LDM_DEPTH, shapes):
        level = bisect_left(ends, int(hit[1]))
        levels[level] = (levels[level][0], max(levels[level][1], int(hit[2]) + 1))
    return levels


def _levels(shapes: Shapes) -> list[tuple[int, int]]:
    blocks = Counter(int(hit[1]) for hit in _hits(_BLOCK, shapes))
    depths: dict[int, int] = {}
    for hit in _hits(_BLOCK_DEPTH, shapes):
        level = int(hit[1])
        depths[level] = max(depths.get(level, 0), int(hit[2]) + 1)
    return [(blocks[level], depths.get(level, 0)) for level in range(max(blocks, default=-1) + 1)]


def _hits(pattern: re.Pattern[str], names: Iterable[str]) -> list[re.Match[str]]:
    return [hit for name in names if (hit := pattern.fullmatch(name))]
