"""Analytic latents hold the mean colours, and their normalisation can be undone."""

from __future__ import annotations

import torch

from models.demo.train.latents import Normalisation, analytic_latents


def test_a_flat_picture_is_its_colour_and_no_contrast() -> None:
    colour = torch.tensor([0.5, -0.25, 1.0])
    latents = analytic_latents(colour.view(1, 3, 1, 1).expand(1, 3, 16, 24))
    assert latents.shape == (1, 4, 2, 3)
    assert torch.allclose(latents[0, :3, 0, 0], colour, atol=1e-6)
    assert torch.allclose(latents[:, 3], torch.full((1, 2, 3), -0.3), atol=1e-3)


def test_an_edge_raises_the_contrast_of_its_block_only() -> None:
    picture = torch.full((1, 3, 8, 16), -1.0)
    picture[..., :4] = 1.0
    contrast = analytic_latents(picture)[0, 3, 0]
    assert torch.allclose(contrast, torch.tensor([1.7, -0.3]), atol=1e-3)


def test_normalised_latents_go_back_to_the_coarse_picture() -> None:
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand((6, 3, 32, 32), generator=generator) * 2 - 1
    raw = analytic_latents(pictures)
    normalisation = Normalisation.of(raw)
    normal = normalisation.apply(raw)
    assert torch.allclose(normal.mean((0, 2, 3)), torch.zeros(4), atol=1e-5)
    assert torch.allclose(normal.std((0, 2, 3)), torch.ones(4), atol=1e-4)
    restored = normalisation.undo(normal)[:, :3]
    assert (restored - torch.nn.functional.avg_pool2d(pictures, 8)).abs().max() < 1e-5
