"""What the UNet is trained on: velocities at uniform times, captions that are at times empty."""

from __future__ import annotations

from random import Random

import torch

from models.demo.train import networks
from models.demo.train.dataset import LatentSet, scenes
from models.demo.train.train_unet import EMPTY, choose, noised


def test_noise_and_picture_come_back_from_the_velocity() -> None:
    clean = torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    noisy, timesteps, velocity = noised(clean, torch.Generator().manual_seed(2))
    share = networks.alphas_cumprod()[timesteps].view(-1, 1, 1, 1)
    found = share.sqrt() * noisy - (1 - share).sqrt() * velocity
    assert torch.allclose(found, clean, atol=1e-5)
    noise = share.sqrt() * velocity + (1 - share).sqrt() * noisy
    assert abs(float(noise.std()) - 1) < 0.05
    assert len(set(timesteps.tolist())) > 3


def test_a_share_of_the_captions_is_empty() -> None:
    source = LatentSet(latents=torch.arange(5.0).view(5, 1, 1, 1), scenes=tuple(scenes(1, 5)))
    latents, captions = choose(source, 400, Random(3), empty=0.25)
    assert latents.shape == (400, 1, 1, 1)
    assert 60 < captions.count(EMPTY) < 140
    again, same = choose(source, 400, Random(3), empty=0.25)
    assert torch.equal(latents, again)
    assert captions == same
