"""Stable Diffusion 1.x: one CLIP, eight heads a level."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ..header import Header
from ..identify import Kind
from . import parts, sidecar
from .base import Family

if TYPE_CHECKING:
    from ..catalog import CheckpointInfo

NAME = "SD1.x"
TEXT_ENCODER = "cond_stage_model.transformer."
FACTS = parts.Facts(
    family=NAME,
    heads=8,
    latent_scale=0.18215,
    latent_space="SD1",
    stored_schedule=True,
)


def detect(kind: Kind) -> bool:
    """Whether a file is of this family, and of a kind that is supported."""
    return kind.family == "SD1" and kind.reason is None


def layout(info: "CheckpointInfo", header: Header) -> parts.Layout:
    """Read the dimensions, the sidecar's word going before the header's.

    Raises CorruptCheckpoint and UnsupportedCheckpoint.
    """
    source = parts.Source.of(info, header)
    prefix = "text_encoder." if source.names.diffusers else TEXT_ENCODER
    said = None if info.config is None else sidecar.text(sidecar.read_sidecar(info.config))
    text = parts.TextPart(layout=said, prefix=prefix) if said else source.clip(prefix)
    text = replace(text, layout=replace(text.layout, projection=None))
    return parts.layout(source, FACTS, (text,))


FAMILY = Family(name=NAME, detect=detect, check=layout, load=partial(parts.load, layout))
