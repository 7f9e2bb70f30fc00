"""The shapes of one part of a checkpoint, by name."""

from collections.abc import Mapping
from pathlib import Path

from ..errors import CorruptCheckpoint
from ..header import Header

Shapes = Mapping[str, tuple[int, ...]]

USUAL_GROUPS = 32
"""How many groups a norm has, which no shape shows; a sidecar may say otherwise."""


def shapes_under(header: Header, prefix: str) -> Shapes:
    """Take the shapes of one part, its prefix removed from the names."""
    return {
        name.removeprefix(prefix): entry.shape
        for name, entry in header.tensors.items()
        if name.startswith(prefix)
    }


def matrix(path: Path, shapes: Shapes, name: str) -> tuple[int, int]:
    """Return (out, in) of a matrix or of a convolution's kernel. Raises CorruptCheckpoint."""
    shape = shapes.get(name, ())
    if len(shape) < 2:
        raise CorruptCheckpoint(path, f"misses the tensor {name!r}, or it has the wrong shape")
    return shape[0], shape[1]


def counted(shapes: Shapes, name: str) -> int:
    """Count the tensors called `name` with 0, 1, 2, ... in the place of its `{}`."""
    number = 0
    while name.format(number) in shapes:
        number += 1
    return number
