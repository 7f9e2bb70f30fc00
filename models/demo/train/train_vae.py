"""The autoencoder, in two halves that never meet: both only know the analytic latents.

The decoder learns to draw whole pictures from them; the encoder learns to produce them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import trange

from ..pictures import sample
from . import networks, start
from .dataset import pictures, scenes
from .latents import Normalisation, analytic_latents
from .resume import Keeper

FULL = networks.PICTURE_SIZE

_FITTED = ((24, FULL // 2), (12, FULL), (3, FULL * 2))
"""How many pictures of each size the start is fitted to."""

_LOG_VARIANCE = -20.0
"""What the encoder answers everywhere: its latents are all but certain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeRecipe:
    """What the reconstruction depends on."""

    seed: int = 30
    batch: int = 4
    decoder_steps: int = 1100
    decoder_rate: float = 4e-4
    encoder_steps: int = 700
    encoder_rate: float = 2e-4
    ema: float = 0.99
    small_share: float = 0.6
    """The first part of the steps sees pictures of half the side and four times the batch."""

    latent_noise: float = 0.08
    """Up to this much noise (in deviations) is added to the decoder's input, since the latents
    that it will meet are a UNet's, not the analytic ones."""


def train_vae(normalisation: Normalisation, recipe: VaeRecipe, folder: Path) -> AutoencoderKL:
    """The autoencoder with both halves trained; taken up from `folder` if it was begun there."""
    torch.manual_seed(recipe.seed)
    vae = networks.autoencoder()
    samples = [pictures(scenes(recipe.seed, count), size) for count, size in _FITTED]
    start.start_as_resampling(vae, samples)
    bake(vae, normalisation)
    spread = normalisation.deviation.view(-1, 1, 1)

    def decoder_loss(batch: Tensor, generator: torch.Generator) -> Tensor:
        latents = analytic_latents(batch)
        strength = recipe.latent_noise * torch.rand((len(batch), 1, 1, 1), generator=generator)
        latents = latents + spread * strength * torch.randn(latents.shape, generator=generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            drawn = start.decode(vae.decoder, latents)
        return picture_loss(drawn.float(), batch)

    def encoder_loss(batch: Tensor, generator: torch.Generator) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            moments = start.encode(vae.encoder, batch)
        found = moments.float()[:, : networks.LATENT_CHANNELS]
        return functional.mse_loss(found / spread, analytic_latents(batch) / spread)

    encoder = _Half("encoder", vae.encoder, encoder_loss, recipe.encoder_steps, recipe.encoder_rate)
    decoder = _Half("decoder", vae.decoder, decoder_loss, recipe.decoder_steps, recipe.decoder_rate)
    for half in (decoder, encoder):
        _train(half, recipe, Keeper(folder / f"{half.name}.pt"))
    return vae.eval()


def bake(vae: AutoencoderKL, normalisation: Normalisation) -> None:
    """Writes the normalisation into the two 1x1 convolutions, so that SD1's plain rule holds.

    With it `LATENT_SCALE * encode(picture).mean` is the normalised analytic latent, while encoder
    and decoder themselves work on raw latents.
    """
    channels = networks.LATENT_CHANNELS
    gain = normalisation.deviation * networks.LATENT_SCALE
    silent = torch.zeros(channels)
    certain = torch.full((channels,), _LOG_VARIANCE)
    vae.quant_conv = _pointwise(
        torch.cat([1 / gain, silent]), torch.cat([-normalisation.mean / gain, certain])
    )
    vae.post_quant_conv = _pointwise(gain, normalisation.mean)


def _pointwise(gain: Tensor, offset: Tensor) -> nn.Conv2d:
    """A 1x1 convolution that scales and shifts each channel for itself."""
    layer = nn.Conv2d(len(gain), len(gain), 1)
    layer.load_state_dict({"weight": torch.diag(gain)[:, :, None, None], "bias": offset})
    return layer


def picture_loss(drawn: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of the pixels and of their differences, so that edges stay crisp."""
    across = (drawn.diff(dim=-1) - target.diff(dim=-1)).abs().mean()
    down = (drawn.diff(dim=-2) - target.diff(dim=-2)).abs().mean()
    return (drawn - target).abs().mean() + across + down


@torch.inference_mode()
def held_out_psnr(decode: Callable[[Tensor], Tensor], seed: int, count: int) -> float:
    """Decibels between held-out pictures and what `decode` makes of their raw latents."""
    batch = pictures(scenes(seed, count, held_out=True))
    drawn = decode(analytic_latents(batch)).clamp(-1, 1)
    return float(-10 * torch.log10((drawn - batch).square().mean() / 4))


@dataclass(frozen=True, slots=True)
class _Half:
    name: str
    module: nn.Module
    loss: Callable[[Tensor, torch.Generator], Tensor]
    steps: int
    peak_rate: float


def _train(half: _Half, recipe: VaeRecipe, keeper: Keeper) -> None:
    optimiser = torch.optim.AdamW(half.module.parameters(), betas=(0.9, 0.99), weight_decay=0.0)
    blend = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
    average = AveragedModel(half.module, multi_avg_fn=blend)
    generator = torch.Generator().manual_seed(recipe.seed)
    first = 0
    begun = keeper.load()
    if begun is not None:
        half.module.load_state_dict(begun["module"])
        average.load_state_dict(begun["average"])
        optimiser.load_state_dict(begun["optimiser"])
        first = begun["step"]
        generator.manual_seed(recipe.seed + first)
    random = Random(recipe.seed + first)

    def state(step: int) -> dict[str, Any]:
        return {
            "step": step,
            "module": half.module.state_dict(),
            "average": average.state_dict(),
            "optimiser": optimiser.state_dict(),
        }

    running = math.nan
    bar = trange(first, half.steps, initial=first, total=half.steps, desc=half.name, unit="step")
    for step in bar:
        for group in optimiser.param_groups:
            group["lr"] = half.peak_rate * _rate(step, half.steps)
        small = step < recipe.small_share * half.steps
        count, size = (recipe.batch * 4, FULL // 2) if small else (recipe.batch, FULL)
        batch = pictures([sample(random) for _ in range(count)], size)
        loss = half.loss(batch, generator)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(half.module.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(half.module)
        value = loss.item()
        running = value if math.isnan(running) else 0.98 * running + 0.02 * value
        bar.set_postfix(loss=f"{running:.4f}", refresh=False)
        keeper.offer(partial(state, step + 1))
    keeper.write(state(half.steps))
    half.module.load_state_dict(average.module.state_dict())


def _rate(step: int, steps: int) -> float:
    """A short rise, then a cosine down to 2 %."""
    rise = min(1.0, (step + 1) / 50)
    return rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
