"""Real-ESRGAN's own weights, against pictures that spandrel alone made of them, looked at."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from models.upscalers.network import open_upscaler
from models.upscalers.tiles import Tiling

from .conftest import Weights

DATA = Path(__file__).parent.parent / "data"
STORED = DATA / "weights"
SMALL = DATA / "upscalers" / "RealESRGAN" / "realesr-animevideov3.safetensors"
WHOLE = Tiling(size=0, overlap=0)
STEMS = ("realesr-animevideov3", "RealESRGAN_x4plus_anime_6B", "RealESRGAN_x4plus")

pytestmark = pytest.mark.skipif(
    find_spec("spandrel") is None, reason="spandrel is of the extra `upscalers`"
)


def picture(name: str) -> Image.Image:
    with Image.open(STORED / f"{name}.png") as image:
        return image.convert("RGB")


def enlarged(path: Path, tiling: Tiling = WHOLE) -> Image.Image:
    upscaler = open_upscaler(path, device=torch.device("cpu"), half=False)
    return upscaler.enlarge(picture("eye"), tiling, lambda share: None)


def psnr(one: Image.Image, other: Image.Image) -> float:
    difference = np.asarray(one, np.float64) - np.asarray(other, np.float64)
    return float(10 * np.log10(255**2 / max(float(np.mean(difference**2)), 1e-9)))


def test_a_real_network_enlarges_by_four() -> None:
    found = enlarged(SMALL)
    assert found.size == (192, 192)
    stored = picture("eye.realesr-animevideov3")
    assert psnr(found, stored) > 50
    plain = picture("eye").resize(found.size, Image.Resampling.LANCZOS)
    assert 20 < psnr(plain, stored) < 35, "it is the same picture, and more than a resize"


def test_its_tiles_do_not_show() -> None:
    assert psnr(enlarged(SMALL, Tiling(size=32, overlap=16)), enlarged(SMALL)) > 42


@pytest.mark.weights
@pytest.mark.parametrize("stem", STEMS)
def test_every_real_file_enlarges_by_four(stem: str, real_models: Path) -> None:
    found = enlarged(real_models / "RealESRGAN" / f"{stem}.pth")
    assert psnr(found, picture(f"eye.{stem}")) > 50
    others = [picture(f"eye.{other}") for other in STEMS if other != stem]
    assert all(psnr(found, other) < 40 for other in others), "they can be told apart"


@pytest.mark.weights
def test_the_small_file_is_the_real_one(weights: Weights) -> None:
    path = weights.path("RealESRGAN/realesr-animevideov3.pth")
    real = torch.load(path, weights_only=True)["params"]
    kept = load_file(SMALL)
    assert kept.keys() == real.keys()
    assert all(torch.equal(kept[name].float(), real[name]) for name in real)
