"""Networks on an NVIDIA GPU, in the precision that their architecture bears: `pytest -m gpu`."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.upscalers.network import open_upscaler
from models.upscalers.tiles import Tiling

from .nets import SIZES, directly, network, picture, saved

pytestmark = pytest.mark.gpu

DTYPES = {
    "Compact": torch.float16,
    "ESRGAN": torch.float16,
    "SCUNet": torch.float16,
    "DAT": torch.bfloat16,
    "SwinIR": torch.bfloat16,
}


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("kind", SIZES)
def test_a_gpu_gives_what_a_cpu_gives(kind: str, half: bool, tmp_path: Path) -> None:
    module = network(kind)
    image = picture(64, 48)
    path = saved(module, tmp_path / "net.pth")
    upscaler = open_upscaler(path, device=torch.device("cuda"), half=half)
    assert upscaler.dtype == (DTYPES[kind] if half else torch.float32)
    made = upscaler.enlarge(image, Tiling(size=0, overlap=0), lambda share: None)
    expected = np.asarray(directly(module, image)).astype(int)
    assert np.abs(np.asarray(made) - expected).mean() < (4 if half else 0.5)
