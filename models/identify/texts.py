"""The text encoders in a header; torch-free."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..header import Header
from .kind import Layout

Maker = Literal["clip", "open_clip", "t5"]
TOKENS: Mapping[Maker, tuple[str, ...]] = {
    "clip": (
        "text_model.embeddings.token_embedding.weight",
        "embeddings.token_embedding.weight",
    ),
    "open_clip": ("token_embedding.weight",),
    "t5": ("shared.weight", "encoder.embed_tokens.weight"),
}
#: where whole checkpoints keep theirs, and by whose code they are written
PLACES: Mapping[Layout, tuple[tuple[str, Maker], ...]] = {
    "ldm": (
        ("cond_stage_model.transformer.", "clip"),
        ("cond_stage_model.model.", "open_clip"),
        ("conditioner.embedders.0.transformer.", "clip"),
        ("conditioner.embedders.0.model.", "open_clip"),
        ("conditioner.embedders.1.model.", "open_clip"),
        ("text_encoders.clip_l.transformer.", "clip"),
        ("text_encoders.clip_g.transformer.", "clip"),
        ("text_encoders.t5xxl.transformer.", "t5"),
    ),
    "diffusers": (
        ("text_encoder.", "clip"),
        ("text_encoder_2.", "clip"),
        ("text_encoder_2.", "t5"),
        ("text_encoder_3.", "t5"),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text encoder: its prefix, by whose code, its width, and that of its pooled vector."""

    prefix: str
    maker: Maker
    width: int
    pooled: int | None


def find_texts(header: Header, layout: Layout) -> tuple[Text, ...]:
    """Find the text encoders of a whole checkpoint, in the order of their places."""
    found = (_read(header, prefix, maker) for prefix, maker in PLACES[layout])
    return tuple(text for text in found if text is not None)


def _read(header: Header, prefix: str, maker: Maker) -> Text | None:
    shapes = [
        header.tensors[prefix + name].shape
        for name in TOKENS[maker]
        if prefix + name in header.tensors
    ]
    if not shapes or len(shapes[0]) != 2:
        return None
    # OpenCLIP multiplies from the left, transformers' linear layers from the right.
    ours = header.tensors.get(f"{prefix}text_projection")
    theirs = header.tensors.get(f"{prefix}text_projection.weight")
    pooled = None
    if ours is not None and len(ours.shape) == 2:
        pooled = ours.shape[1]
    elif theirs is not None and len(theirs.shape) == 2:
        pooled = theirs.shape[0]
    return Text(prefix=prefix, maker=maker, width=shapes[0][1], pooled=pooled)
