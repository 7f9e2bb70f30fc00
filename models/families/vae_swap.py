"""An autoencoder from a file of its own, in place of the one inside a checkpoint."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL

from ..errors import CorruptCheckpoint, UnsupportedCheckpoint
from ..header import Header
from . import ldm_keys
from .modules import Rename, build, fill
from .sd15 import CONFIGS
from .sd15_layout import VAE, VaeLayout, shapes_under, vae_layout
from .weights import Weights, open_weights

if TYPE_CHECKING:
    from ..vae_files import VaeInfo

#: latents are an eighth of the picture
LEVELS = 4
LATENT_CHANNELS = 4
#: parts of a training run that some files keep
LEFTOVERS = ("loss", "model_ema.")
MOST_LAYERS = 16
DIFFUSERS_MARK = "encoder.down_blocks."
#: how diffusers called the parts of attention at first
OLD_ATTENTION: Mapping[str, str] = {
    ".query.": ".to_q.",
    ".key.": ".to_k.",
    ".value.": ".to_v.",
    ".proj_attn.": ".to_out.0.",
}


def load_vae(
    info: "VaeInfo", *, device: torch.device, dtype: torch.dtype, allow_pickle: bool = False
) -> AutoencoderKL:
    """Load an SD1 autoencoder in LDM's or diffusers' layout; its widths are those of the file.

    Of a file that is a whole checkpoint, the autoencoder in it. Raises CheckpointNotFound,
    CorruptCheckpoint and UnsupportedCheckpoint.
    """
    with open_weights(info.path, allow_pickle=allow_pickle) as opened:
        weights = _part(opened)
        layout, rename = _layout(info.path, weights.header)
        _check(info.path, layout)
        config = json.loads((CONFIGS / "vae.json").read_text(encoding="utf-8")) | layout.config()
        vae = build(lambda: AutoencoderKL(**config), weights)
        fill(vae, weights, VAE, rename, device=device, dtype=dtype)
    return vae


def _part(weights: Weights) -> Weights:
    """The file's autoencoder alone, every name below the prefix that checkpoints have."""
    tensors = weights.header.tensors
    prefix = VAE if any(name.startswith(VAE) for name in tensors) else ""
    kept = {
        VAE + bare: entry
        for name, entry in tensors.items()
        if name.startswith(prefix) and not (bare := name.removeprefix(prefix)).startswith(LEFTOVERS)
    }
    header = Header(tensors=kept, metadata=weights.header.metadata)

    def read(name: str) -> torch.Tensor:
        return weights.read(prefix + name.removeprefix(VAE))

    return Weights(path=weights.path, header=header, read=read)


def _layout(path: Path, header: Header) -> tuple[VaeLayout, Rename]:
    """The dimensions, and how the file's names become the module's."""
    if not any(name.startswith(VAE + DIFFUSERS_MARK) for name in header.tensors):
        found = vae_layout(path, header)
        return found, partial(ldm_keys.vae, levels=len(found.channels))
    shapes = shapes_under(header, VAE)
    channels: list[int] = []
    while shape := shapes.get(f"{DIFFUSERS_MARK}{len(channels)}.resnets.0.conv1.weight"):
        channels.append(shape[0])
    counted = (f"{DIFFUSERS_MARK}0.resnets.{i}.conv1.weight" for i in range(MOST_LAYERS))
    layers = sum(name in shapes for name in counted)
    latent = shapes.get("decoder.conv_in.weight", ())
    if not channels or len(latent) < 2:
        raise CorruptCheckpoint(path, "misses the encoder's blocks or the decoder's first layer")
    found = VaeLayout(channels=tuple(channels), layers=layers, latent_channels=latent[1])
    return found, _diffusers_key


def _diffusers_key(name: str) -> str:
    """A name in diffusers' layout as the module has it."""
    for old, new in OLD_ATTENTION.items():
        name = name.replace(old, new)
    return name


def _check(path: Path, layout: VaeLayout) -> None:
    if len(layout.channels) != LEVELS:
        raise UnsupportedCheckpoint(
            path, f"a VAE of {len(layout.channels)} levels; supported: {LEVELS}"
        )
    if layout.latent_channels != LATENT_CHANNELS:
        raise UnsupportedCheckpoint(
            path,
            f"a VAE with latents of {layout.latent_channels} channels; supported: "
            f"{LATENT_CHANNELS}",
        )
