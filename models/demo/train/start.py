"""Where the autoencoder's training starts: as a plain resampling of the picture.

Every residual branch is silent, the resamplers average or repeat, and the residual path carries
colour and contrast through; what is left to learn is edges.

A group norm takes out its group's mean and scale, and with them a picture's overall colour. So
each group holds a carrier, its negative and two constants of either sign: the mean is zero, the
scale is nearly the constants', and the difference of the first two passes the norm and the SiLU
behind it unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.vae import Decoder, Encoder
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from .latents import analytic_latents
from .networks import GROUPS

_CONSTANT, _NOISE, _RIDGE = 4.0, 0.02, 1e-6
_HELD = 4
"""Channels of each group that carry something from the start; the others begin as noise."""


def start_as_resampling(vae: AutoencoderKL, samples: Sequence[Tensor]) -> None:
    """Sets encoder and decoder to resample and nothing else.

    The two output layers are fitted in closed form to `samples`, pictures [N, 3, H, W] of several
    sizes.
    """
    for half in (vae.encoder, vae.decoder):
        for module in half.modules():
            if isinstance(module, ResnetBlock2D):
                nn.init.zeros_(module.conv2.weight)
                nn.init.zeros_(module.conv2.bias)
                if module.conv_shortcut is not None:
                    _rehouse(module.conv_shortcut)
        for parameter in half.mid_block.attentions[0].to_out[0].parameters():
            nn.init.zeros_(parameter)
        _carry(half.conv_in)
    for block in vae.encoder.down_blocks[:-1]:
        _each_channel(block.downsamplers[0].conv, torch.tensor([0.5, 0.5, 0.0]))
    for block in vae.decoder.up_blocks[:-1]:
        _each_channel(block.upsamplers[0].conv, torch.tensor([0.0, 1.0, 0.0]))
    latents = [analytic_latents(pictures) for pictures in samples]
    _fit_output(vae.encoder, samples, latents)
    _fit_output(vae.decoder, latents, samples)


@torch.no_grad()
def _carry(layer: nn.Conv2d) -> None:
    """Each group gets one of the inputs in turn, its negative and the constants."""
    assert layer.bias is not None
    nn.init.normal_(layer.weight, std=_NOISE)
    nn.init.zeros_(layer.bias)
    width = layer.out_channels // GROUPS
    for group in range(GROUPS):
        first = group * width
        layer.weight[first : first + _HELD] = 0
        for place, sign in enumerate((1.0, -1.0)):
            layer.weight[first + place, group % layer.in_channels, 1, 1] = sign
            layer.bias[first + 2 + place] = sign * _CONSTANT


@torch.no_grad()
def _rehouse(layer: nn.Conv2d) -> None:
    """From one width to another: what the groups carry moves to the same groups."""
    assert layer.bias is not None
    nn.init.normal_(layer.weight, std=_NOISE)
    nn.init.zeros_(layer.bias)
    old, new = layer.in_channels // GROUPS, layer.out_channels // GROUPS
    for group in range(GROUPS):
        for place in range(_HELD):
            layer.weight[group * new + place] = 0
            layer.weight[group * new + place, group * old + place, 0, 0] = 1


@torch.no_grad()
def _each_channel(layer: nn.Conv2d, profile: Tensor) -> None:
    """The same separable kernel for every channel, and nothing across channels."""
    assert layer.bias is not None
    layer.weight.zero_()
    layer.bias.zero_()
    kernel = torch.outer(profile, profile)
    for channel in range(layer.out_channels):
        layer.weight[channel, channel] = kernel


@torch.no_grad()
def _fit_output(half: Encoder | Decoder, given: Sequence[Tensor], wanted: Sequence[Tensor]) -> None:
    """Least squares from what the output layer sees to `wanted`, place by place."""
    seen: list[Tensor] = []
    hook = half.conv_act.register_forward_hook(lambda _module, _given, out: seen.append(out))
    for one in given:
        half(one)
    hook.remove()
    features = torch.cat([_by_place(one) for one in seen])
    features = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
    values = torch.cat([_by_place(one) for one in wanted])
    ridge = _RIDGE * len(features) * torch.eye(features.shape[1], dtype=torch.double)
    solution = torch.linalg.solve(features.T @ features + ridge, features.T @ values).float()
    count = values.shape[1]
    assert half.conv_out.bias is not None
    half.conv_out.weight.zero_()
    half.conv_out.weight[:count, :, 1, 1] = solution[:-1].T
    half.conv_out.bias.zero_()
    half.conv_out.bias[:count] = solution[-1]


def _by_place(values: Tensor) -> Tensor:
    """[N, C, h, w] as one row a place, float64 [N * h * w, C]."""
    return values.movedim(1, -1).flatten(0, -2).double()
