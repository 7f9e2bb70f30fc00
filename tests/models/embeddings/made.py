"""Embeddings made for a test, as values and as files."""

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.embeddings.table import Embedding

from ..files import REFERENCE

TINY = REFERENCE / "embeddings"
WIDTH = 16
VECTORS = torch.arange(32, dtype=torch.float32).reshape(2, WIDTH) / 8


def embedding(name: str, count: int = 1, *widths: int, first: float = 1.0) -> Embedding:
    """An embedding of `count` vectors, whose numbers are `first`, `first` + 1 and so on."""
    rows = torch.arange(count, dtype=torch.float32)[:, None] + first
    tensors = tuple(rows.expand(count, width).clone() for width in widths or (WIDTH,))
    return Embedding(name=name, path=Path(f"{name}.pt"), tensors=tensors, short_hash=f"{name}#")


def pickled(content: object, *, archive: bool = True) -> bytes:
    """What torch.save writes, in today's format or the one before 1.6."""
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=archive)
    return stream.getvalue()


def trained(vectors: Tensor = VECTORS, **more: Any) -> dict[str, Any]:
    """The fields that webui's training writes."""
    return {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, **more}
