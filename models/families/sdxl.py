"""Stable Diffusion XL (https://arxiv.org/abs/2307.01952) and what was made of it.

The base reads CLIP and OpenCLIP's bigG side by side, and sizes; the refiner bigG alone, and a
score. SSD-1B, inpainting and edit models differ in their UNet's shape.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UnsupportedCheckpoint
from ..header import Header
from ..identify import Kind
from . import parts
from .base import NUMBERS, Family, SizeConditioning
from .unet_layout import NUMBER_WIDTH

if TYPE_CHECKING:
    from ..catalog import CheckpointInfo

NAME = "SDXL"
CLIP = "conditioner.embedders.0.transformer."
SECOND = "conditioner.embedders.1.model."
ONLY = "conditioner.embedders.0.model."
FACTS = parts.Facts(family=NAME, heads=None, latent_scale=0.13025, latent_space="SDXL")


def detect(kind: Kind) -> bool:
    """Whether a file is of this family, and of a kind that is supported."""
    return kind.family == "SDXL" and kind.reason is None


def layout(info: "CheckpointInfo", header: Header) -> parts.Layout:
    """Read the dimensions. Raises CorruptCheckpoint and UnsupportedCheckpoint."""
    source = parts.Source.of(info, header)
    texts = _texts(source)
    sizes: SizeConditioning = "score" if len(texts) == 1 else "sizes"
    found = parts.layout(source, FACTS, texts, sizes)
    _check(info.path, found, sizes)
    return found


def _texts(source: parts.Source) -> tuple[parts.TextPart, ...]:
    """The base's two text encoders, or the refiner's one."""
    first = "text_encoder." if source.names.diffusers else CLIP
    refiner = not any(name.startswith(first) for name in source.header.tensors)
    usual = ONLY if refiner else SECOND
    prefix = "text_encoder_2." if source.names.diffusers else usual
    second = replace(source.open_clip(prefix), layer="penultimate", normed=False)
    if refiner:
        return (second,)
    clip = source.clip(first)
    clip = replace(
        clip,
        layout=replace(clip.layout, projection=None),
        layer="penultimate or skip",
        normed=False,
    )
    return clip, second


def _check(path: Path, found: parts.Layout, sizes: SizeConditioning) -> None:
    pooled = found.texts[-1].layout.projection
    if pooled is None:
        raise UnsupportedCheckpoint(path, "a text encoder without its projection")
    wanted = pooled + NUMBERS[sizes] * NUMBER_WIDTH
    if found.unet.vector_width != wanted:
        raise UnsupportedCheckpoint(
            path,
            f"a UNet that is guided by a vector of width {found.unet.vector_width}; its text and "
            f"sizes make {wanted}",
        )


FAMILY = Family(name=NAME, detect=detect, check=layout, load=partial(parts.load, layout))
