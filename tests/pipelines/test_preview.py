"""Previews: each by its method, and by something as cheap where that has no weights."""

from typing import cast

import numpy as np
import pytest
import torch

from models.approx import ApproxVaes
from models.families.base import Checkpoint
from pipelines.plan import VaeMethod
from pipelines.preview import draw

from .toy import CONTRAST, ToyCheckpoint


class Approx:
    """Networks that paint everything one value; those that are not there give nothing."""

    def __init__(self, **values: float) -> None:
        self.values = values

    def _painted(self, name: str, latents: torch.Tensor, scale: int) -> torch.Tensor | None:
        if name not in self.values:
            return None
        count, _, height, width = latents.shape
        return torch.full((count, 3, height * scale, width * scale), self.values[name])

    def taesd_decoded(self, latents: torch.Tensor, space: str) -> torch.Tensor | None:
        return self._painted("taesd", latents, 8)

    def network_decoded(self, latents: torch.Tensor, space: str) -> torch.Tensor | None:
        return self._painted("network", latents, 2)


def drawn(
    checkpoint: Checkpoint, latents: torch.Tensor, method: VaeMethod, **networks: float
) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    return draw(checkpoint, latents, method, cast(ApproxVaes, Approx(**networks)))


def small() -> Checkpoint:
    return ToyCheckpoint().lent()


def big() -> Checkpoint:
    """A checkpoint whose VAE has as many weights as a real one, without their memory."""
    return ToyCheckpoint(vae=torch.nn.Linear(10_000, 1_000, device="meta")).lent()


@pytest.mark.parametrize(
    ("method", "networks", "level", "height"),
    [
        ("TAESD", {"taesd": 1.0, "network": -1.0}, 255, 24),
        ("TAESD", {"network": -1.0}, 0, 6),
        ("TAESD", {}, 127, 3),
        ("Approx NN", {"taesd": 1.0, "network": -1.0}, 0, 6),
        ("Approx NN", {"taesd": 1.0}, 127, 3),
        ("Approx cheap", {"taesd": 1.0, "network": 1.0}, 127, 3),
    ],
)
def test_a_method_without_weights_is_replaced_by_a_cheaper_one(
    method: VaeMethod, networks: dict[str, float], level: int, height: int
) -> None:
    pixels = drawn(big(), torch.zeros(2, 4, 3, 5), method, **networks)
    assert pixels.shape == (2, height, height // 3 * 5, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == level).all()


def test_only_full_is_drawn_by_the_vae_itself() -> None:
    latents = torch.tensor([-3.0, -1.0, 0.0, 0.5, 1.0, 3.0]).reshape(1, 1, 1, 6) / CONTRAST
    latents = latents.expand(1, 4, 1, 6)
    pixels = drawn(small(), latents, "Full", taesd=1.0, network=1.0)
    assert pixels.shape == (1, 8, 48, 3)
    # 255 (x + 1) / 2, clamped and cut off, as the final picture is
    assert pixels[0, 0, ::8, 0].tolist() == [0, 0, 127, 191, 255, 255]
    assert drawn(small(), latents, "Approx cheap").shape == (1, 1, 6, 3)


def test_a_vae_as_small_as_a_network_stands_in_for_it() -> None:
    assert drawn(small(), torch.zeros(1, 4, 8, 12), "Approx NN").shape == (1, 16, 24, 3)
    assert drawn(small(), torch.zeros(1, 4, 3, 5), "Approx NN").shape == (1, 8, 16, 3)
    latents = torch.zeros(1, 4, 4, 8)
    latents[0, 0, 1, 2], latents[0, 0, :, 4:] = 16.0, -1.0
    pixels = drawn(small(), latents, "Approx NN")
    # the mean of sixteen latents, as the toy paints it
    assert pixels[0, 0, 0, 0] == int(255 * (1 + CONTRAST) / 2)
    assert pixels[0, 7, 15, 0] == int(255 * (1 - CONTRAST) / 2)


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        (0, [165, 153, 154]),
        (1, [151, 163, 149]),
        (2, [107, 151, 161]),
        (3, [104, 92, 67]),
    ],
)
def test_the_cheap_look_is_linear(channel: int, expected: list[int]) -> None:
    latents = torch.zeros(2, 4, 3, 5)
    latents[1, channel] = 1.0
    pixels = drawn(big(), latents, "Approx cheap")
    assert (pixels[0] == 127).all()
    assert pixels[1, 2, 4].tolist() == expected


def test_half_precision_latents_can_be_shown() -> None:
    latents = torch.zeros(1, 4, 3, 5, dtype=torch.float16)
    assert (drawn(big(), latents, "Approx NN") == 127).all()
