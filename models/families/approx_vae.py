"""Cheap stand-ins for SD1's autoencoder: small networks with weights of their own."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from diffusers.models.autoencoders.vae import DecoderTiny, EncoderTiny
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, pad

from .modules import Rename, build, fill
from .weights import open_weights

LATENT_CHANNELS = 4
COLOURS = 3
TAESD_WIDTHS = (64, 64, 64, 64)
TAESD_DECODER_BLOCKS = (3, 3, 3, 1)
TAESD_ENCODER_BLOCKS = (1, 3, 3, 3)
#: channels and kernel of each convolution of the preview network
NETWORK_LAYERS: Sequence[tuple[int, int]] = (
    (8, 7),
    (16, 5),
    (32, 3),
    (64, 3),
    (32, 3),
    (16, 3),
    (8, 3),
    (COLOURS, 3),
)
NETWORK_SLOPE = 0.1
NUMBERED = re.compile(r"(\d{1,3})\.(.+)")

Built = TypeVar("Built", bound=nn.Module)


class PreviewNetwork(nn.Module):
    """Eight convolutions without padding over doubled latents, padded once by all they take off."""

    def __init__(self) -> None:
        """Make the layers, named as in the files."""
        super().__init__()
        before = LATENT_CHANNELS
        for number, (channels, kernel) in enumerate(NETWORK_LAYERS, 1):
            self.add_module(f"conv{number}", nn.Conv2d(before, channels, kernel))
            before = channels

    def forward(self, latents: Tensor) -> Tensor:
        """Turn latents [N,4,h,w] into pixels [N,3,2h,2w], nominally in [-1,1]."""
        border = sum(kernel // 2 for _, kernel in NETWORK_LAYERS)
        hidden = pad(interpolate(latents, scale_factor=2.0), (border,) * 4)
        for layer in self.children():
            hidden = leaky_relu(layer(hidden), NETWORK_SLOPE)
        return hidden


def load_taesd_decoder(
    path: Path, *, device: torch.device, dtype: torch.dtype, allow_pickle: bool
) -> nn.Module:
    """TAESD's decoder: latents [N,4,h,w] as sampled -> pixels [N,3,8h,8w] in [-1,1].

    Raises CheckpointNotFound, CorruptCheckpoint and UnsupportedCheckpoint.
    """
    make: Callable[[], nn.Module] = partial(
        DecoderTiny,
        in_channels=LATENT_CHANNELS,
        out_channels=COLOURS,
        num_blocks=TAESD_DECODER_BLOCKS,
        block_out_channels=TAESD_WIDTHS,
        upsampling_scaling_factor=2,
        act_fn="relu",
        upsample_fn="nearest",
    )
    # the author's file counts the clamp before the first layer as one
    rename = partial(_taesd_key, part="decoder.", offset=1)
    return _load(make, rename, path, device=device, dtype=dtype, allow_pickle=allow_pickle)


def load_taesd_encoder(
    path: Path, *, device: torch.device, dtype: torch.dtype, allow_pickle: bool
) -> nn.Module:
    """TAESD's encoder: pixels [N,3,8h,8w] in [-1,1] -> latents [N,4,h,w] as sampled.

    Raises CheckpointNotFound, CorruptCheckpoint and UnsupportedCheckpoint.
    """
    make: Callable[[], nn.Module] = partial(
        EncoderTiny,
        in_channels=COLOURS,
        out_channels=LATENT_CHANNELS,
        num_blocks=TAESD_ENCODER_BLOCKS,
        block_out_channels=TAESD_WIDTHS,
        act_fn="relu",
    )
    rename = partial(_taesd_key, part="encoder.", offset=0)
    return _load(make, rename, path, device=device, dtype=dtype, allow_pickle=allow_pickle)


def load_network(
    path: Path, *, device: torch.device, dtype: torch.dtype, allow_pickle: bool
) -> PreviewNetwork:
    """The preview network. Raises CheckpointNotFound, CorruptCheckpoint, UnsupportedCheckpoint."""
    return _load(PreviewNetwork, str, path, device=device, dtype=dtype, allow_pickle=allow_pickle)


def _load(
    make: Callable[[], Built],
    rename: Rename,
    path: Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    allow_pickle: bool,
) -> Built:
    with open_weights(path, allow_pickle=allow_pickle) as weights:
        module = build(make, weights)
        fill(module, weights, "", rename, device=device, dtype=dtype)
    return module


def _taesd_key(name: str, *, part: str, offset: int) -> str:
    """A name of the author's plain list of layers, or of diffusers' layout, as diffusers has it."""
    found = NUMBERED.fullmatch(name)
    if found is None:
        return name.removeprefix(part)
    return f"layers.{int(found[1]) - offset}.{found[2]}"
