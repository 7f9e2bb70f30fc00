"""The hires fix's way from the first latents to the second pass."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipelines.hires import _enlarged
from pipelines.plan import HiresPass, SamplerSpec
from pipelines.steps import Decode, EncodeImage
from pipelines.upscalers import LATENT_UPSCALERS, PIXEL_UPSCALERS


def hires(upscaler: str, width: int, height: int, crop: tuple[int, int] | None = None) -> HiresPass:
    return HiresPass(
        width=width,
        height=height,
        crop=crop or (width, height),
        upscaler=upscaler,
        denoising=0.5,
        steps=4,
        sampler=SamplerSpec(name="Euler", schedule="automatic", steps=4),
        prompts=("a",),
        negative_prompts=("",),
    )


def latent_enlarged(latents: Tensor, wanted: HiresPass) -> Tensor:
    with pytest.raises(StopIteration) as end:
        next(_enlarged(latents, wanted))
    enlarged: Tensor = end.value.value
    return enlarged


RAMP = torch.arange(8.0).reshape(1, 1, 1, 8).expand(1, 4, 8, 8)


@pytest.mark.parametrize("upscaler", LATENT_UPSCALERS)
def test_latents_are_interpolated(upscaler: str) -> None:
    enlarged = latent_enlarged(RAMP, hires(upscaler, 128, 96))
    assert enlarged.shape == (1, 4, 12, 16)
    row = enlarged[0, 0, 0]
    assert bool((row.diff() >= -1e-3).all())
    blocks = torch.arange(8.0).repeat_interleave(2)
    assert torch.equal(row, blocks) == upscaler.startswith("Latent (nearest")


def test_what_is_too_much_on_one_side_is_cut_from_its_middle() -> None:
    whole = latent_enlarged(RAMP, hires("Latent (nearest)", 128, 128))
    cut = latent_enlarged(RAMP, hires("Latent (nearest)", 128, 128, crop=(72, 128)))
    assert cut.shape == (1, 4, 16, 9)
    assert torch.equal(cut, whole[:, :, :, 3:12])
    flat = latent_enlarged(RAMP, hires("Latent (nearest)", 128, 128, crop=(128, 64)))
    assert torch.equal(flat, whole[:, :, 4:12])


@pytest.mark.parametrize("upscaler", PIXEL_UPSCALERS)
def test_pixels_are_decoded_enlarged_and_encoded(upscaler: str) -> None:
    stepping = _enlarged(RAMP, hires(upscaler, 96, 64))
    asked = next(stepping)
    assert isinstance(asked, Decode)
    assert asked.latents is RAMP
    checks = np.zeros((1, 64, 64, 3), np.uint8)
    checks[:, :, 32:] = 200
    answer: Any = stepping.send(checks)
    assert isinstance(answer, EncodeImage)
    assert answer.pixels.shape == (1, 64, 96, 3)
    assert answer.pixels[0, 32, 20, 0] == 0
    assert answer.pixels[0, 32, 75, 0] == 200
    with pytest.raises(StopIteration) as end:
        stepping.send(RAMP)
    assert end.value.value is RAMP


def test_nearest_keeps_its_edges() -> None:
    checks = np.zeros((1, 8, 8, 3), np.uint8)
    checks[:, :, 4:] = 200
    pictures = {}
    for upscaler in ("Nearest", "Lanczos"):
        stepping = _enlarged(RAMP[:, :, :1, :1], hires(upscaler, 16, 16))
        next(stepping)
        answer = stepping.send(checks)
        assert isinstance(answer, EncodeImage)
        pictures[upscaler] = set(answer.pixels.flatten().tolist())
    assert pictures["Nearest"] == {0, 200}
    assert len(pictures["Lanczos"]) > 2
