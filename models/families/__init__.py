"""The families of models that can be loaded, and which of them a file belongs to."""

from typing import TYPE_CHECKING

import torch

from .. import torchvision_ops as torchvision_ops  # before all that imports diffusers
from ..catalog import PICKLE
from ..errors import UnsupportedCheckpoint
from ..header import read_header
from ..identify import identify, read_folder
from ..precision import Formats
from . import sd2, sd15, sdxl
from .base import Checkpoint, Family
from .folder import open_folder
from .sharing import Stock
from .weights import open_weights

if TYPE_CHECKING:
    from pathlib import Path

    from ..catalog import CheckpointInfo
    from ..header import Header

__all__ = ["FAMILIES", "Checkpoint", "Family", "check", "load"]

FAMILIES: tuple[Family, ...] = (sd15.FAMILY, sd2.FAMILY, sdxl.FAMILY)


def load(
    info: "CheckpointInfo",
    *,
    device: torch.device,
    formats: Formats,
    allow_pickle: bool = False,
    stock: Stock | None = None,
) -> Checkpoint:
    """Load a checkpoint onto a device; text encoders and VAE that are in `stock` are shared.

    Raises CorruptCheckpoint and UnsupportedCheckpoint.
    """
    if info.path.is_dir():
        opened = open_folder(info.path, stock)
    else:
        opened = open_weights(info.path, allow_pickle=allow_pickle, stock=stock)
    with opened as weights:
        family = _family(info.path, weights.header)
        return family.load(info, weights, device=device, formats=formats)


def check(info: "CheckpointInfo") -> None:
    """Refuse by its header alone what cannot be loaded; a pickle shows nothing before it is read.

    Raises CheckpointNotFound, CorruptCheckpoint and UnsupportedCheckpoint.
    """
    if info.path.suffix.lower() != PICKLE:
        folder = info.path.is_dir()
        header = read_folder(info.path).header if folder else read_header(info.path)
        _family(info.path, header).check(info, header)


def _family(path: "Path", header: "Header") -> Family:
    kind = identify(header)
    for family in FAMILIES:
        if family.detect(kind):
            return family
    known = ", ".join(family.name for family in FAMILIES)
    reason = kind.reason or f"in {kind.layout} layout, which is not supported"
    raise UnsupportedCheckpoint(path, f"{kind.name}: {reason}; checkpoints supported: {known}")
