"""An autoencoder from a file of its own, in place of the one inside a checkpoint."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL

from ..errors import UnsupportedCheckpoint
from ..header import Header
from ..identify import beyond_any
from . import ldm_keys, parts
from .modules import Rename, build, fill
from .shapes import shapes_under
from .sharing import Stock
from .vae_layout import VaeLayout, diffusers_key, in_diffusers_names, vae_layout
from .weights import Weights, open_weights

if TYPE_CHECKING:
    from ..vae_files import VaeInfo

#: latents are an eighth of the picture
LEVELS = 4
#: parts of a training run that some files keep
LEFTOVERS = ("loss", "model_ema.")


def load_vae(
    info: "VaeInfo",
    *,
    device: torch.device,
    dtype: torch.dtype,
    channels_last: bool = False,
    allow_pickle: bool = False,
    stock: Stock | None = None,
) -> AutoencoderKL:
    """Load an autoencoder in LDM's or diffusers' layout; its widths are those of the file.

    Of a file that is a whole checkpoint, the autoencoder in it. One that is equal to a part of
    `stock` shares its memory. Raises CheckpointNotFound, CorruptCheckpoint and
    UnsupportedCheckpoint.
    """
    with open_weights(info.path, allow_pickle=allow_pickle, stock=stock) as opened:
        if reason := beyond_any(opened.header):
            raise UnsupportedCheckpoint(info.path, reason)
        weights, prefix = _part(opened)
        shapes = shapes_under(weights.header, prefix)
        layout = vae_layout(info.path, shapes)
        _check(info.path, layout)
        rename: Rename = partial(ldm_keys.vae, levels=len(layout.channels))
        if in_diffusers_names(shapes):
            rename = diffusers_key
        config = parts.config("vae") | layout.config()
        vae = build(lambda: AutoencoderKL(**config), weights)
        fill(vae, weights, prefix, rename, device=device, dtype=dtype, channels_last=channels_last)
    return vae


def _part(weights: Weights) -> tuple[Weights, str]:
    """The file's autoencoder alone, and the prefix of its names."""
    tensors = weights.header.tensors
    prefixes = (parts.LDM.vae, parts.DIFFUSERS.vae)
    prefix = next((p for p in prefixes if any(name.startswith(p) for name in tensors)), "")
    kept = {
        name: entry
        for name, entry in tensors.items()
        if name.startswith(prefix) and not name.removeprefix(prefix).startswith(LEFTOVERS)
    }
    header = Header(tensors=kept, metadata=weights.header.metadata)
    return replace(weights, header=header), prefix


def _check(path: Path, layout: VaeLayout) -> None:
    if len(layout.channels) != LEVELS:
        raise UnsupportedCheckpoint(
            path, f"a VAE of {len(layout.channels)} levels; supported: {LEVELS}"
        )
    if layout.latent_channels != parts.LATENT_CHANNELS:
        raise UnsupportedCheckpoint(
            path,
            f"a VAE with latents of {layout.latent_channels} channels; supported: "
            f"{parts.LATENT_CHANNELS}",
        )
