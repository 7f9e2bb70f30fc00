"""What a model's forward runs on: a checkpoint, and all that is put on it; torch-free."""

from dataclasses import dataclass

from .catalog import CheckpointInfo
from .networks.files import NetworkUse
from .vae_files import VaeInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """A state of the device that a generation asks for.

    Without `vae` the checkpoint's own is used. `networks` are put on in order. `tiling` makes every
    convolution wrap around.
    """

    checkpoint: CheckpointInfo
    vae: VaeInfo | None = None
    networks: tuple[NetworkUse, ...] = ()
    tiling: bool = False
