"""Pictures to bytes and back."""

import numpy as np
import torch

from pipelines.pixels import from_bytes, to_bytes


def test_bytes_are_truncated_and_clamped() -> None:
    shades = torch.tensor([-2.0, -1.0, 0.0, 0.999, 1.0, 3.0]).reshape(1, 1, 1, 6)
    assert to_bytes(shades.expand(1, 3, 1, 6))[0, 0, :, 2].tolist() == [0, 0, 127, 254, 255, 255]


def test_every_byte_comes_back_but_for_truncation() -> None:
    shades = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, 3)
    pixels = from_bytes(shades)
    assert pixels.shape == (1, 3, 16, 16)
    assert (float(pixels.min()), float(pixels.max())) == (-1.0, 1.0)
    assert np.abs(to_bytes(pixels).astype(int) - shades).max() <= 1
