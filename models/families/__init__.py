"""The families of models that can be loaded, and which of them a file belongs to."""

from typing import TYPE_CHECKING

import torch

from ..catalog import PICKLE
from ..errors import UnsupportedCheckpoint
from ..header import read_header
from . import sd15
from .base import Checkpoint, Family
from .foreign import describe
from .weights import open_weights

if TYPE_CHECKING:
    from pathlib import Path

    from ..catalog import CheckpointInfo
    from ..header import Header

__all__ = ["FAMILIES", "Checkpoint", "Family", "check", "load"]

FAMILIES: tuple[Family, ...] = (sd15.FAMILY,)


def load(
    info: "CheckpointInfo",
    *,
    device: torch.device,
    dtype: torch.dtype,
    vae_dtype: torch.dtype,
    allow_pickle: bool = False,
) -> Checkpoint:
    """Load a checkpoint onto a device. Raises CorruptCheckpoint and UnsupportedCheckpoint."""
    with open_weights(info.path, allow_pickle=allow_pickle) as weights:
        family = _family(info.path, weights.header)
        return family.load(info, weights, device=device, dtype=dtype, vae_dtype=vae_dtype)


def check(info: "CheckpointInfo") -> None:
    """Refuse by its header alone what cannot be loaded; a pickle shows nothing before it is read.

    Raises CheckpointNotFound, CorruptCheckpoint and UnsupportedCheckpoint.
    """
    if info.path.suffix.lower() != PICKLE:
        header = read_header(info.path)
        _family(info.path, header).check(info, header)


def _family(path: "Path", header: "Header") -> Family:
    for family in FAMILIES:
        if family.detect(header):
            return family
    known = ", ".join(family.name for family in FAMILIES)
    raise UnsupportedCheckpoint(path, f"{describe(header)}; supported today: {known}")
