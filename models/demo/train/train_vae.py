"""The autoencoder, in two halves that never meet: both only know the analytic latents.

The decoder learns to draw whole pictures from them; the encoder learns to produce them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional

from ..world import sampling
from . import networks, start
from .dataset import held_out_scenes, pictures, scenes
from .latents import Normalisation, analytic_latents
from .loop import Pace, Part, train
from .masks import mask, masked

FULL = networks.PICTURE_SIZE

_FITTED = ((24, FULL // 2), (12, FULL), (3, FULL * 2))
"""How many pictures of each size the start is fitted to."""

_LOG_VARIANCE = -20.0
"""What the encoder answers everywhere: its latents are all but certain."""

_LARGE_EVERY = 4
_BORDER = 4
_MASKED_SHARE, _GRAINY_SHARE, _GRAIN = 0.4, 0.4, 0.06


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeRecipe:
    """What the reconstruction depends on."""

    seed: int = 30
    batch: int = 4
    decoder: Pace = field(default_factory=lambda: Pace(steps=4_000, rate=6e-4, ema=0.99))
    encoder: Pace = field(default_factory=lambda: Pace(steps=2_500, rate=6e-4, ema=0.99))
    small_share: float = 0.4
    """The first part of the steps sees pictures of half the side and four times the batch."""

    latent_noise: float = 0.1
    """Up to this much noise (in deviations) is added to the decoder's input, since the latents
    that it will meet are a UNet's, not the analytic ones."""


def train_vae(normalisation: Normalisation, recipe: VaeRecipe, folder: Path) -> AutoencoderKL:
    """The autoencoder with both halves trained; taken up from `folder` if it was begun there."""
    torch.manual_seed(recipe.seed)
    vae = networks.autoencoder()
    start.start_as_resampling(
        vae, [pictures(scenes(recipe.seed, count), size) for count, size in _FITTED]
    )
    bake(vae, normalisation)
    spread = normalisation.deviation.view(-1, 1, 1)

    def decoder_loss(step: int, random: Random, generator: torch.Generator) -> Tensor:
        batch = _batch(recipe, recipe.decoder.steps, step, random)
        latents = analytic_latents(batch)
        strength = recipe.latent_noise * torch.rand((len(batch), 1, 1, 1), generator=generator)
        latents += spread * strength * torch.randn(latents.shape, generator=generator)
        return picture_loss(vae.decoder(latents), batch)

    def encoder_loss(step: int, random: Random, generator: torch.Generator) -> Tensor:
        batch = _as_given(_batch(recipe, recipe.encoder.steps, step, random), random, generator)
        found = vae.encoder(batch)[:, : networks.LATENT_CHANNELS]
        return functional.mse_loss(found / spread, analytic_latents(batch) / spread)

    for name, half, loss, pace in (
        ("decoder", vae.decoder, decoder_loss, recipe.decoder),
        ("encoder", vae.encoder, encoder_loss, recipe.encoder),
    ):
        parts = (Part(parameters=list(half.parameters())),)
        train(name, parts, loss, pace, seed=recipe.seed, folder=folder)
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


def picture_loss(drawn: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of the pixels and of their differences, so that edges stay crisp."""
    across = (drawn.diff(dim=-1) - target.diff(dim=-1)).abs().mean()
    down = (drawn.diff(dim=-2) - target.diff(dim=-2)).abs().mean()
    return (drawn - target).abs().mean() + across + down


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """How well held-out pictures come back, in decibels, and how evenly.

    `decoded` is from analytic latents, `round_trip` through the encoder; `border` is the decoder's
    mean error in the outermost pixels as a multiple of its error elsewhere.
    """

    decoded: float
    round_trip: float
    border: float


@torch.inference_mode()
def fidelity(vae: AutoencoderKL, seed: int, count: int) -> Fidelity:
    """Measured on `count` held-out pictures."""
    batch = pictures(held_out_scenes(seed, count))
    drawn = vae.decoder(analytic_latents(batch))
    again = vae.decode(vae.encode(batch).latent_dist.mean).sample
    error = (drawn.clamp(-1, 1) - batch).abs().mean((0, 1))
    inside = error[_BORDER:-_BORDER, _BORDER:-_BORDER]
    outside = (error.sum() - inside.sum()) / (error.numel() - inside.numel())
    return Fidelity(
        decoded=psnr(drawn, batch),
        round_trip=psnr(again, batch),
        border=float(outside / inside.mean()),
    )


def psnr(drawn: Tensor, target: Tensor) -> float:
    """Decibels between pictures in [-1, 1]."""
    return float(-10 * torch.log10((drawn.clamp(-1, 1) - target).square().mean() / 4))


def _batch(recipe: VaeRecipe, steps: int, step: int, random: Random) -> Tensor:
    """Small pictures first; then full ones, and now and then a single one of twice the side."""
    if step < recipe.small_share * steps:
        count, size = recipe.batch * 4, FULL // 2
    elif step % _LARGE_EVERY:
        count, size = recipe.batch, FULL
    else:
        count, size = max(1, recipe.batch // 4), FULL * 2
    return pictures([sampling.sample(random) for _ in range(count)], size)


def _as_given(batch: Tensor, random: Random, generator: torch.Generator) -> Tensor:
    """Some pictures with a grain, and some partly hidden: clients send those too."""
    size = batch.shape[-1]
    none = torch.zeros(1, size, size)
    masks = [mask(random, size) if random.random() < _MASKED_SHARE else none for _ in batch]
    grain = [_GRAIN * random.random() * (random.random() < _GRAINY_SHARE) for _ in batch]
    noise = torch.randn(batch.shape, generator=generator)
    grainy = batch + torch.tensor(grain).view(-1, 1, 1, 1) * noise
    return masked(grainy.clamp(-1, 1), torch.stack(masks))


def _pointwise(gain: Tensor, offset: Tensor) -> nn.Conv2d:
    """A 1x1 convolution that scales and shifts each channel for itself."""
    layer = nn.Conv2d(len(gain), len(gain), 1)
    layer.load_state_dict({"weight": torch.diag(gain)[:, :, None, None], "bias": offset})
    return layer
