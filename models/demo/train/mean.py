"""Lets the noise predictor see and say a picture's mean.

With 64 channels in 32 groups the last norm sees pairs of channels, and takes from each pair the
mean that both share. The mean of a latent is its overall colour; a predictor trained as usual
leaves it at what the first noise happened to be. Here four pairs are given over to the noisy
latent itself and its opposite, whose shared mean is nothing, so that the norm takes nothing; and
since silu(u) - silu(-u) = u, the output layer reads the latent back whole.
"""

from __future__ import annotations

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor
from torch.nn import functional

from .networks import LATENT_CHANNELS


@torch.no_grad()
def carry_mean(unet: UNet2DConditionModel) -> tuple[int, ...]:
    """Gives the least used pairs of the last layer to the latent; their first channels."""
    use = unet.conv_out.weight.square().sum((0, 2, 3))
    pairs = use.view(-1, 2).sum(1).argsort()[:LATENT_CHANNELS].tolist()
    block = unet.up_blocks[-1]
    layer, attention = block.resnets[-1], block.attentions[-1]
    # The last layer's skip is the output of `conv_in`, from which the latent can be solved for.
    spread = unet.conv_in.weight.flatten(1)
    centres = torch.arange(LATENT_CHANNELS) * 9 + 4
    recover = torch.linalg.pinv(spread.double())[centres].float()
    offset = recover @ unet.conv_in.bias
    skip = layer.conv_shortcut.in_channels - unet.conv_in.out_channels
    for channel, pair in enumerate(pairs):
        for place, sign in ((2 * pair, 1.0), (2 * pair + 1, -1.0)):
            for silent in (layer.conv2, attention.proj_out, layer.conv_shortcut):
                silent.weight[place] = 0.0
                silent.bias[place] = 0.0
            layer.conv_shortcut.weight[place, skip:, 0, 0] = sign * recover[channel]
            layer.conv_shortcut.bias[place] = -sign * offset[channel]
            unet.conv_norm_out.weight[place] = 1.0
            unet.conv_norm_out.bias[place] = 0.0
    return tuple(2 * pair for pair in pairs)


@torch.no_grad()
def fit_output(unet: UNet2DConditionModel, seen: Tensor, noise: Tensor, mean_weight: float) -> None:
    """Fits the output layer in closed form.

    `seen` [N, 64, h, w] is what the layer sees, `noise` [N, 4, h, w] what it should say;
    `mean_weight` is the weight of a picture's mean against that of a single cell.
    """
    patches = functional.unfold(seen, 3, padding=1).double()
    patches = torch.cat([patches, torch.ones_like(patches[:, :1])], dim=1)
    target = noise.flatten(2).double()
    cells = patches.movedim(1, -1).flatten(0, 1)
    values = target.movedim(1, -1).flatten(0, 1)
    means, mean_values = patches.mean(-1), target.mean(-1)
    weight = mean_weight * patches.shape[-1]
    square = cells.T @ cells + weight * means.T @ means
    right = cells.T @ values + weight * means.T @ mean_values
    ridge = 1e-5 * square.diagonal().mean() * torch.eye(len(square), dtype=torch.double)
    solution = torch.linalg.solve(square + ridge, right).float()
    unet.conv_out.weight.copy_(solution[:-1].T.view_as(unet.conv_out.weight))
    unet.conv_out.bias.copy_(solution[-1])
