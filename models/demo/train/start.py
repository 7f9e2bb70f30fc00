"""Where the autoencoder's training starts: as a plain resampling of the picture.

Every residual branch is silent, the resamplers average or repeat, and the residual path carries
colour and contrast through; what is left to learn is edges.

The difficulty is the last group norm. With 64 channels in 32 groups it sees pairs, and a pair of
flat channels leaves it as (-1, 1) whatever their values: the absolute colour is erased. So each
carrier is paired with a reference that varies in space by a known amount, far more than any
picture does. Only the zero padding can make such a pattern, a frame one latent cell thick; it is
made once, in the first middle layer, and the output layer is fitted so that it cancels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.vae import Decoder, Encoder
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from torch.nn import functional

from .latents import analytic_latents

_CONSTANT_PAIR = 28
"""Pairs of channels before this one are (carrier, reference); this one is two constants."""

_PATTERN_PAIRS = (29, 30, 31)
"""References without a carrier, of either sign: with them the output layer cancels the frame."""

_CONSTANT, _NOISE, _RIDGE = 3.0, 0.02, 1e-6

_REFERENCE_DEVIATION = 4.0
"""Large against the carriers' range of about [-1, 2], so that the norm is nearly linear."""


def start_as_resampling(vae: AutoencoderKL, samples: Sequence[Tensor]) -> None:
    """Sets encoder and decoder, 64 wide at every level, to resample and nothing else.

    The two output layers are fitted in closed form to `samples`, pictures [N, 3, H, W] of several
    sizes, so that the frame cancels at each.
    """
    for half in (vae.encoder, vae.decoder):
        for module in half.modules():
            if isinstance(module, ResnetBlock2D):
                nn.init.zeros_(module.conv2.weight)
                nn.init.zeros_(module.conv2.bias)
        for parameter in half.mid_block.attentions[0].to_out[0].parameters():
            nn.init.zeros_(parameter)
        _carry(half.conv_in)
        _make_references(half.mid_block.resnets[0])
    for block in vae.encoder.down_blocks[:-1]:
        _each_channel(block.downsamplers[0].conv, torch.tensor([0.5, 0.5, 0.0]))
    for block in vae.decoder.up_blocks[:-1]:
        _each_channel(block.upsamplers[0].conv, torch.tensor([0.0, 1.0, 0.0]))
    latents = [analytic_latents(pictures) for pictures in samples]
    _fit_output(vae.encoder, samples, latents)
    _fit_output(vae.decoder, latents, samples)


def decode(decoder: Decoder, latents: Tensor) -> Tensor:
    """What the decoder draws from raw latents, without its finest layers that are still silent.

    The last upsampler repeats and the last residual layer adds nothing; at full resolution they
    would be half of the cost. Exact as long as the training leaves them as they started.
    """
    hidden = decoder.mid_block(decoder.conv_in(latents))
    *coarse, fine = decoder.up_blocks
    for block in coarse:
        for layer in block.resnets:
            hidden = layer(hidden, None)
        if block is coarse[-1]:
            hidden = functional.interpolate(hidden, scale_factor=2.0, mode="nearest")
        else:
            hidden = block.upsamplers[0](hidden)
    hidden = fine.resnets[0](hidden, None)
    return _output(decoder, hidden)


def encode(encoder: Encoder, pictures: Tensor) -> Tensor:
    """The encoder's moments, without its finest layer that is still silent."""
    finest, *coarse = encoder.down_blocks
    hidden = finest.downsamplers[0](encoder.conv_in(pictures))
    for block in coarse:
        hidden = block(hidden)
    return _output(encoder, encoder.mid_block(hidden))


def _output(half: Encoder | Decoder, hidden: Tensor) -> Tensor:
    out: Tensor = half.conv_out(half.conv_act(half.conv_norm_out(hidden)))
    return out


@torch.no_grad()
def _carry(layer: nn.Conv2d) -> None:
    """Carriers copy the inputs in turn; the constant pair is the one that the norm leaves alone."""
    assert layer.bias is not None
    layer.weight.zero_()
    layer.bias.zero_()
    for pair in range(_CONSTANT_PAIR):
        layer.weight[2 * pair].normal_(0, _NOISE)
        layer.weight[2 * pair, pair % layer.in_channels, 1, 1] += 1.0
    layer.bias[2 * _CONSTANT_PAIR] = _CONSTANT
    layer.bias[2 * _CONSTANT_PAIR + 1] = -_CONSTANT


@torch.no_grad()
def _make_references(block: ResnetBlock2D) -> None:
    """A sum over a constant's neighbours is smaller at the edge: that is the frame.

    The layer's inner norm gives it mean 0 and deviation 1 at any size of picture, and
    silu(z) - silu(-z) = z carries it unchanged through the activation.
    """
    source = 2 * _CONSTANT_PAIR
    plus, minus = (2 * pair for pair in _PATTERN_PAIRS[:2])
    for first, sign in ((plus, 1.0), (minus, -1.0)):
        for channel in (first, first + 1):
            block.conv1.weight[channel].zero_()
            block.conv1.weight[channel, source] = sign
    references = [(2 * pair + 1, pair) for pair in range(_CONSTANT_PAIR)]
    references += [(2 * pair + place, 4 * place) for pair in _PATTERN_PAIRS for place in (0, 1)]
    for channel, order in references:
        gain = _REFERENCE_DEVIATION if (order // 4) % 2 == 0 else -_REFERENCE_DEVIATION
        block.conv2.weight[channel, plus, 1, 1] = gain
        block.conv2.weight[channel, minus, 1, 1] = -gain


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
