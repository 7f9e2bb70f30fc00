"""The measures of the autoencoder, and what its loss asks for."""

from __future__ import annotations

import pytest
import torch

from models.demo.train.train_vae import picture_loss, psnr


def test_decibels() -> None:
    target = torch.zeros(1, 3, 8, 8)
    assert psnr(target + 0.2, target) == pytest.approx(20, abs=1e-4)
    assert psnr(target + 0.02, target) == pytest.approx(40, abs=1e-4)
    bright = torch.ones(1, 3, 8, 8)
    assert psnr(bright * 1.5, bright - 0.2) == pytest.approx(20, abs=1e-4)


def test_a_blurred_edge_costs_more_than_its_pixels() -> None:
    edge = torch.full((1, 3, 8, 8), -1.0)
    edge[..., 4:] = 1
    blurred = edge.clone()
    blurred[..., 3:5] = 0
    even = edge + (blurred - edge).abs().mean()
    assert picture_loss(blurred, edge) > 1.5 * picture_loss(even, edge)
    assert picture_loss(edge, edge) == 0
