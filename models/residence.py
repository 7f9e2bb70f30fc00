"""A checkpoint that is loaded, and how many may be."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from .catalog import PICKLE, CheckpointInfo
from .choice import ModelChoice
from .families.parts import DIFFUSERS, LDM
from .families.sharing import Part
from .families.weights import FLOATS
from .fitting import Fitting
from .header import TensorEntry, read_header
from .identify import identify, identify_folder, read_folder
from .offload import Guest

#: What of a checkpoint is on the GPU: all of it; the part at work; of a UNet the block at work.
Sparing = Literal["nothing", "parts", "blocks"]
#: copies for training that are never loaded
UNREAD = "model_ema."
#: a pickle's weights are mostly in half precision
PICKLED_BYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How many checkpoints stay loaded, those not in use in RAM rather than on the GPU or not.

    `networks` counts the network files that each keeps in memory beside those it wears;
    `vae_retries` are the dtypes that its VAE is moved to, in turn, where it overflows.
    """

    limit: int = 1
    in_ram: bool = True
    networks: int = 0
    vae_retries: tuple[torch.dtype, ...] = (torch.float32,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frugality:
    """What is saved on a GPU: of any model, and of SDXL alone."""

    any_model: Sparing = "nothing"
    sdxl: Sparing = "nothing"

    def of(self, info: CheckpointInfo) -> Sparing:
        """What is saved for a checkpoint. Raises CheckpointNotFound and CorruptCheckpoint."""
        if self.any_model != "nothing" or self.sdxl == "nothing":
            return self.any_model
        return self.sdxl if _family(info) == "SDXL" else "nothing"


@dataclass(slots=True, eq=False, kw_only=True)
class Resident:
    """A loaded checkpoint and its open borrows; `leaving` ones go when the last borrow ends.

    `used` counts the borrows of all checkpoints: the higher, the later; 0 for none yet. `away`: it
    is in RAM and must come to the GPU before it can be lent. Other checkpoints may share its
    `parts`: what its modules had in the file.
    """

    fitting: Fitting
    choice: ModelChoice
    parts: Mapping[nn.Module, Part] = field(default_factory=dict)
    guests: tuple[Guest, ...] = ()
    borrows: int = 0
    used: int = 0
    leaving: bool = False
    away: bool = False

    @property
    def info(self) -> CheckpointInfo:
        """Which checkpoint it is, hashed."""
        return self.fitting.bare.info

    def forget_changed(self) -> None:
        """Let go of the former weights of a part that went over to another number format."""
        self.parts = {
            module: part
            for module, part in self.parts.items()
            if next(module.parameters()).dtype is next(iter(part.tensors.values())).dtype
        }

    def send_home(self) -> None:
        """Put its weights into RAM; networks are taken off first, so that they are its own."""
        self.fitting.undress()
        self.parts = {}
        for guest in self.guests:
            guest.leave()

    def fetch(self) -> None:
        """Put its weights onto the GPU."""
        for guest in self.guests:
            guest.arrive()


def stored(info: CheckpointInfo) -> tuple[torch.dtype | None, torch.dtype | None]:
    """Tell in which formats a checkpoint's file has most of its UNet and of its VAE, by its header.

    None where that shows nothing, as of a pickle. Raises CheckpointNotFound and CorruptCheckpoint.
    """
    if info.path.is_dir():
        tensors = read_folder(info.path).header.tensors
    elif info.path.suffix.lower() == PICKLE:
        return None, None
    else:
        tensors = read_header(info.path).tensors
    unets, vaes = (LDM.unet, DIFFUSERS.unet), (LDM.vae, DIFFUSERS.vae)
    return _usual(tensors, unets), _usual(tensors, vaes)


def weight_bytes(info: CheckpointInfo, dtype: torch.dtype) -> int:
    """Tell what a checkpoint takes once it is loaded as `dtype`, by its header.

    Raises CheckpointNotFound and CorruptCheckpoint.
    """
    if info.path.is_dir():
        return _elements(read_folder(info.path).header.tensors) * dtype.itemsize
    if info.path.suffix.lower() == PICKLE:
        return info.path.stat().st_size // PICKLED_BYTES * dtype.itemsize
    return _elements(read_header(info.path).tensors) * dtype.itemsize


def _family(info: CheckpointInfo) -> str | None:
    """By its header; None for a pickle, which shows nothing before it is read."""
    if info.path.is_dir():
        return identify_folder(info.path).family
    if info.path.suffix.lower() == PICKLE:
        return None
    return identify(read_header(info.path)).family


def _usual(tensors: Mapping[str, TensorEntry], prefixes: tuple[str, ...]) -> torch.dtype | None:
    """The format of most of the numbers whose names begin so."""
    counts: Counter[str] = Counter()
    for name, entry in tensors.items():
        if entry.dtype in FLOATS and name.startswith(prefixes):
            counts[entry.dtype] += math.prod(entry.shape)
    return FLOATS[counts.most_common(1)[0][0]] if counts else None


def _elements(tensors: Mapping[str, TensorEntry]) -> int:
    return sum(
        math.prod(entry.shape)
        for name, entry in tensors.items()
        if entry.dtype in FLOATS and not name.startswith(UNREAD)
    )
