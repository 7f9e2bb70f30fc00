"""Previews: a real decode where it is cheap, else a linear look at the latents."""

import numpy as np
import pytest
import torch

from pipelines.preview import draw

from .toy import CONTRAST, ToyCheckpoint


def big_vae() -> torch.nn.Module:
    """A module of as many weights as a real VAE, without their memory."""
    return torch.nn.Linear(10_000, 1_000, device="meta")


def test_a_small_vae_decodes() -> None:
    latents = torch.tensor([-3.0, -1.0, 0.0, 0.5, 1.0, 3.0]).reshape(1, 1, 1, 6) / CONTRAST
    pixels = draw(ToyCheckpoint().lent(), latents.expand(1, 4, 1, 6))
    assert pixels.shape == (1, 8, 48, 3)
    assert pixels.dtype == np.uint8
    # 255 (x + 1) / 2, clamped and cut off, as the final picture is
    assert pixels[0, 0, ::8, 0].tolist() == [0, 0, 127, 191, 255, 255]


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        (0, [165, 153, 154]),
        (1, [151, 163, 149]),
        (2, [107, 151, 161]),
        (3, [104, 92, 67]),
    ],
)
def test_a_big_vae_is_not_troubled(channel: int, expected: list[int]) -> None:
    latents = torch.zeros(2, 4, 3, 5)
    latents[1, channel] = 1.0
    pixels = draw(ToyCheckpoint(vae=big_vae()).lent(), latents)
    assert pixels.shape == (2, 3, 5, 3)
    assert pixels.dtype == np.uint8
    assert (pixels[0] == 127).all()
    assert pixels[1, 2, 4].tolist() == expected


def test_half_precision_latents_can_be_shown() -> None:
    latents = torch.zeros(1, 4, 3, 5, dtype=torch.float16)
    assert (draw(ToyCheckpoint(vae=big_vae()).lent(), latents) == 127).all()
