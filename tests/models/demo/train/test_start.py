"""The autoencoder starts as a resampling, and obeys SD1's latent rule before any training."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from models.demo.train import networks, start
from models.demo.train.dataset import held_out_scenes, pictures, scenes
from models.demo.train.latents import Normalisation, analytic_latents
from models.demo.train.train_vae import bake, fidelity


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    torch.manual_seed(0)
    model = networks.autoencoder()
    start.start_as_resampling(model, [pictures(scenes(1, 16), 64), pictures(scenes(2, 4), 128)])
    return model.eval()


@pytest.mark.parametrize("size", [64, 128])
def test_the_start_repeats_each_block_s_colour(vae: AutoencoderKL, size: int) -> None:
    batch = pictures(held_out_scenes(3, 4), size)
    with torch.inference_mode():
        drawn = vae.decoder(analytic_latents(batch))
    blocks = torch.nn.functional.avg_pool2d(batch, 8).repeat_interleave(8, -1)
    blocks = blocks.repeat_interleave(8, -2)
    assert (drawn - blocks).abs().mean() < 0.05


def test_the_scaled_posterior_mean_is_the_normalised_latent(vae: AutoencoderKL) -> None:
    batch = pictures(scenes(5, 8), 64)
    normalisation = Normalisation.of(analytic_latents(batch))
    bake(vae, normalisation)
    with torch.inference_mode():
        posterior = vae.encode(batch).latent_dist
        scaled = posterior.mean * networks.LATENT_SCALE
        again = vae.decode(scaled / networks.LATENT_SCALE).sample
        direct = vae.decoder(vae.encoder(batch)[:, :4])
    error = scaled - normalisation.apply(analytic_latents(batch))
    assert error[:, :3].abs().mean() < 0.15
    assert (again - direct).abs().max() < 1e-3
    assert posterior.std.max() < 1e-3


def test_the_start_is_worth_21_decibels_and_leaves_no_frame(vae: AutoencoderKL) -> None:
    found = fidelity(vae, seed=6, count=4)
    assert found.decoded > 21
    assert found.border < 1.5
