"""What tiles cost and save: `pytest -m bench tests/bench/test_upscalers.py -s`."""

import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from models.memory import give_back
from models.upscalers.network import NetworkUpscaler, open_upscaler
from models.upscalers.tiles import Tiling, area, spans

from ..models.upscalers.nets import picture

pytestmark = pytest.mark.bench

FILE = Path(__file__).parent.parent / "data/upscalers/RealESRGAN/realesr-animevideov3.safetensors"
CPU = torch.device("cpu")
SIDE = 256
WAYS = (
    Tiling(size=0, overlap=0),
    Tiling(size=192, overlap=8),
    Tiling(size=192, overlap=32),
    Tiling(size=96, overlap=8),
    Tiling(size=96, overlap=0),
)


class Peak:
    """The most memory that the process has within a `with`, in bytes above what it had."""

    def __enter__(self) -> "Peak":
        self._process = psutil.Process()
        self._before = self.most = self._process.memory_info().rss
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.most -= self._before

    def _look(self) -> None:
        while not self._over.wait(0.002):
            self.most = max(self.most, self._process.memory_info().rss)


def row(upscaler: NetworkUpscaler, image: Image.Image, way: Tiling, whole: Image.Image) -> str:
    give_back(CPU)
    start = time.perf_counter()
    with Peak() as peak:
        made = upscaler.enlarge(image, way, lambda share: None)
    taken = time.perf_counter() - start
    far = np.asarray(made).astype(float) - np.asarray(whole)
    likeness = 10 * np.log10(255**2 / max((far**2).mean(), 1e-9))
    cut = spans(SIDE, way)
    work = area(cut, cut) / SIDE**2
    side = cut[0].stop
    reckoned = upscaler._bytes_a_pixel * side**2
    return (
        f"| {way.size or 'whole'} | {way.overlap} | {len(cut) ** 2} of {side} | {work:.2f} |"
        f" {taken:.2f} | {peak.most / 2**20:.0f} | {reckoned / 2**20:.0f} | {likeness:.1f} |\n"
    )


def test_tiles() -> None:
    upscaler = open_upscaler(FILE, device=CPU, half=False)
    image = picture(SIDE, SIDE)
    whole = upscaler.enlarge(image, WAYS[0], lambda share: None)
    rows = [row(upscaler, image, way, whole) for way in WAYS]
    sys.stdout.write(
        f"\nReal-ESRGAN compact, {SIDE}x{SIDE} x4 on the CPU, {torch.get_num_threads()} threads\n\n"
        "| tile | overlap | tiles | work | s | peak MiB | reckoned MiB | PSNR to the whole, dB |\n"
        "|---|---|---|---|---|---|---|---|\n" + "".join(rows)
    )
    assert whole.size == (4 * SIDE, 4 * SIDE)
