from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch import Tensor

from models.approx import ApproxVaes
from models.approx_files import LatentSpace
from models.families.base import Checkpoint
from pipelines.approx import TO_RGB, cheap, decode, encode


class Vae:
    """A checkpoint whose VAE gives ones."""

    traits = SimpleNamespace(latent_space="SD1")

    def decode(self, latents: Tensor) -> Tensor:
        return torch.ones(latents.shape[0], 3, 8 * latents.shape[2], 8 * latents.shape[3])

    def encode_image(self, pixels: Tensor) -> Tensor:
        return torch.ones(pixels.shape[0], 4, pixels.shape[2] // 8, pixels.shape[3] // 8)


class Approx:
    """Stand-ins that give a number each, or nothing."""

    def __init__(self, *, there: bool) -> None:
        self.there = there

    def taesd_decoded(self, latents: Tensor, space: str) -> Tensor | None:
        return torch.full((1,), 2.0) if self.there else None

    def taesd_encoded(self, pixels: Tensor, space: str) -> Tensor | None:
        return torch.full((1,), 3.0) if self.there else None

    def network_decoded(self, latents: Tensor, space: str) -> Tensor | None:
        return torch.full((1,), 4.0) if self.there else None


CHECKPOINT = cast(Checkpoint, Vae())
THERE, ABSENT = (cast(ApproxVaes, Approx(there=there)) for there in (True, False))
LATENTS, PIXELS = torch.zeros(1, 4, 2, 2), torch.zeros(1, 3, 16, 16)


@pytest.mark.parametrize("space", ["SD1", "SDXL"])
def test_the_cheap_matrix_mixes_each_latent_channel_into_colours(space: LatentSpace) -> None:
    latents = torch.zeros(1, 4, 2, 3)
    latents[0, 1, 0, 2] = 2.0
    latents[0, 3, 0, 2] = 1.0
    pixels = cheap(latents, space)
    assert pixels.shape == (1, 3, 2, 3)
    expected = [2 * a + b for a, b in zip(TO_RGB[space][1], TO_RGB[space][3], strict=True)]
    assert torch.allclose(pixels[0, :, 0, 2], torch.tensor(expected))
    assert float(pixels.abs().sum()) == float(pixels[0, :, 0, 2].abs().sum())


def test_each_method_decodes_by_its_own_means() -> None:
    assert decode(CHECKPOINT, LATENTS, "Full", THERE).shape == (1, 3, 16, 16)
    assert decode(CHECKPOINT, LATENTS, "Approx cheap", THERE).shape == (1, 3, 2, 2)
    assert decode(CHECKPOINT, LATENTS, "TAESD", THERE).tolist() == [2.0]
    assert decode(CHECKPOINT, LATENTS, "Approx NN", THERE).tolist() == [4.0]


def test_absent_weights_leave_it_to_the_vae() -> None:
    assert decode(CHECKPOINT, LATENTS, "TAESD", ABSENT).shape == (1, 3, 16, 16)
    assert decode(CHECKPOINT, LATENTS, "Approx NN", ABSENT).shape == (1, 3, 16, 16)
    assert encode(CHECKPOINT, PIXELS, "TAESD", ABSENT).shape == (1, 4, 2, 2)


def test_only_taesd_encodes_beside_the_vae() -> None:
    assert encode(CHECKPOINT, PIXELS, "TAESD", THERE).tolist() == [3.0]
    assert encode(CHECKPOINT, PIXELS, "Full", THERE).shape == (1, 4, 2, 2)
    assert encode(CHECKPOINT, PIXELS, "Approx cheap", THERE).shape == (1, 4, 2, 2)
