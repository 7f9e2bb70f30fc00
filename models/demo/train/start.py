"""Where the autoencoder's training starts: as a plain resampling of the picture.

Every residual branch is silent, the resamplers average or interpolate, and the residual path
carries colour and contrast through; what is left to learn is edges. A channel of constant value
beside each carrier keeps the last group norm from erasing the absolute colour: that is why the
widths must be at least twice the 32 groups at every resolution.
"""

from __future__ import annotations

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.vae import Decoder, Encoder
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from .latents import analytic_latents

_REFERENCE = 3.0
"""Large against the carriers' range of about [-1, 2], so that the norm is nearly linear."""

_NOISE = 0.02


def start_as_resampling(vae: AutoencoderKL, pictures: Tensor) -> None:
    """Sets encoder and decoder, of one width at every level, to resample and nothing else.

    The two output layers are fitted to `pictures` [N, 3, H, W] in closed form.
    """
    for half in (vae.encoder, vae.decoder):
        for module in half.modules():
            if isinstance(module, ResnetBlock2D):
                nn.init.zeros_(module.conv2.weight)
        nn.init.zeros_(half.mid_block.attentions[0].to_out[0].weight)
        _carry(half.conv_in)
    for block in vae.encoder.down_blocks[:-1]:
        _each_channel(block.downsamplers[0].conv, torch.tensor([0.5, 0.5, 0.0]))
    for block in vae.decoder.up_blocks[:-1]:
        _each_channel(block.upsamplers[0].conv, torch.tensor([0.25, 0.5, 0.25]))
    latents = analytic_latents(pictures)
    _fit_output(vae.encoder, pictures, latents)
    _fit_output(vae.decoder, latents, pictures)


@torch.no_grad()
def _carry(layer: nn.Conv2d) -> None:
    """Even channels copy the inputs in turn, odd ones hold the reference, of either sign."""
    assert layer.bias is not None
    layer.weight.normal_(0, _NOISE)
    layer.bias.zero_()
    inputs = layer.in_channels
    for pair in range(layer.out_channels // 2):
        layer.weight[2 * pair, pair % inputs, 1, 1] += 1.0
        sign = 1 if (pair // inputs) % 2 == 0 else -1
        layer.bias[2 * pair + 1] = sign * _REFERENCE


@torch.no_grad()
def _fit_output(half: Encoder | Decoder, given: Tensor, wanted: Tensor) -> None:
    """Least squares from what the output layer sees to `wanted`, place by place."""
    seen: list[Tensor] = []
    hook = half.conv_act.register_forward_hook(lambda _module, _given, out: seen.append(out))
    half(given)
    hook.remove()
    features = seen[0].movedim(1, -1).flatten(0, -2)
    features = torch.cat([features, torch.ones(len(features), 1)], dim=1)
    values = wanted.movedim(1, -1).flatten(0, -2)
    # A little ridge, since half of the channels are all but constant.
    square = features.T @ features + 1e-3 * len(features) * torch.eye(features.shape[1])
    solution = torch.linalg.solve(square, features.T @ values)
    count = values.shape[1]
    assert half.conv_out.bias is not None
    half.conv_out.weight.normal_(0, _NOISE)[:count].zero_()
    half.conv_out.weight[:count, :, 1, 1] = solution[:-1].T
    half.conv_out.bias.zero_()[:count] = solution[-1]


@torch.no_grad()
def _each_channel(layer: nn.Conv2d, profile: Tensor) -> None:
    """The same separable kernel for every channel, and nothing across channels."""
    assert layer.bias is not None
    layer.weight.zero_()
    layer.bias.zero_()
    kernel = torch.outer(profile, profile)
    for channel in range(layer.out_channels):
        layer.weight[channel, channel] = kernel
