"""What a model's forward runs on: a checkpoint, and all that is put on it; torch-free."""

from collections.abc import Hashable
from dataclasses import dataclass

from .catalog import CheckpointInfo
from .networks.files import NetworkUse
from .vae_files import VaeInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """A state of the device that a generation asks for.

    Without `vae` the checkpoint's own is used. `networks` are put on in order. `tiling` makes every
    convolution wrap around; `token_merging` is the share of tokens that attention leaves out.
    """

    checkpoint: CheckpointInfo
    vae: VaeInfo | None = None
    networks: tuple[NetworkUse, ...] = ()
    tiling: bool = False
    token_merging: float = 0.0

    @property
    def key(self) -> Hashable:
        """Equal for choices that mean the same state of the same files.

        A hash that is known by now changes none; a file that was written since is another.
        """
        vae = None if self.vae is None else (self.vae.path, self.vae.stamp)
        return self.text_key, vae, self.tiling, self.token_merging

    @property
    def text_key(self) -> Hashable:
        """Equal for choices that read texts alike: of the same checkpoint and networks."""
        networks = tuple(
            (use.network.path, use.network.stamp, use.text_weight, use.unet_weight, use.dyn_dim)
            for use in self.networks
        )
        return self.checkpoint.path, self.checkpoint.stamp, networks
