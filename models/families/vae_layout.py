"""The dimensions of an autoencoder, from the shapes in a header."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import CorruptCheckpoint, UnsupportedCheckpoint
from .shapes import USUAL_GROUPS, Shapes, counted, matrix

DIFFUSERS_MARK = "encoder.down_blocks."
#: how diffusers called the parts of attention at first
OLD_ATTENTION: Mapping[str, str] = {
    ".query.": ".to_q.",
    ".key.": ".to_k.",
    ".value.": ".to_v.",
    ".proj_attn.": ".to_out.0.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeLayout:
    """Widths level by level, from the full resolution down, and the groups of every norm."""

    channels: tuple[int, ...]
    layers: int
    latent_channels: int
    groups: int = USUAL_GROUPS

    def config(self) -> dict[str, object]:
        """Say it in diffusers' words."""
        levels = len(self.channels)
        return {
            "block_out_channels": list(self.channels),
            "layers_per_block": self.layers,
            "latent_channels": self.latent_channels,
            "norm_num_groups": self.groups,
            "down_block_types": ["DownEncoderBlock2D"] * levels,
            "up_block_types": ["UpDecoderBlock2D"] * levels,
        }


def in_diffusers_names(shapes: Shapes) -> bool:
    """Whether the names are diffusers' and not LDM's."""
    return any(name.startswith(DIFFUSERS_MARK) for name in shapes)


def vae_layout(path: Path, shapes: Shapes) -> VaeLayout:
    """Read the autoencoder's dimensions. Raises CorruptCheckpoint and UnsupportedCheckpoint."""
    if not shapes:
        raise UnsupportedCheckpoint(path, "holds no VAE")
    widths, layers = "encoder.down.{}.block.0.conv1.weight", "encoder.down.0.block.{}.conv1.weight"
    if in_diffusers_names(shapes):
        widths = f"{DIFFUSERS_MARK}{{}}.resnets.0.conv1.weight"
        layers = f"{DIFFUSERS_MARK}0.resnets.{{}}.conv1.weight"
    levels = counted(shapes, widths)
    _, latent_channels = matrix(path, shapes, "decoder.conv_in.weight")
    if not levels:
        raise CorruptCheckpoint(path, "misses the blocks of the VAE's encoder")
    return VaeLayout(
        channels=tuple(matrix(path, shapes, widths.format(level))[0] for level in range(levels)),
        layers=counted(shapes, layers),
        latent_channels=latent_channels,
    )


def diffusers_key(name: str) -> str:
    """A name in diffusers' layout as the module has it."""
    for old, new in OLD_ATTENTION.items():
        name = name.replace(old, new)
    return name
