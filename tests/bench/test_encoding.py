"""What a picture costs to be written: `pytest -m bench tests/bench/test_encoding.py -s`."""

import sys
import time

import numpy as np
import pytest
from PIL import Image

from server.imagecodec import Encoding, encode

pytestmark = pytest.mark.bench

SIDE = 1024
WAYS = {
    **{f"png, effort {effort}": Encoding(effort=effort) for effort in (0, 1, 2, 3, 4, 6, 9)},
    "jpg, quality 80": Encoding(format="jpg"),
    "webp, quality 80": Encoding(format="webp"),
    "webp, lossless": Encoding(format="webp", lossless=True),
}


def painting() -> Image.Image:
    """Soft colours under a little grain, much as models paint."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 255, (64, 64, 3), np.uint8))
    soft = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(int)
    grain = random.integers(-4, 5, soft.shape)
    return Image.fromarray((soft + grain).clip(0, 255).astype(np.uint8))


def test_encoding() -> None:
    image = painting()
    rows = [f"\n{SIDE}x{SIDE}\n\n| way | ms | KiB |\n|---|---|---|\n"]
    sizes = {}
    for name, encoding in WAYS.items():
        taken = []
        for _ in range(3):
            start = time.perf_counter()
            data = encode(image, "a cat\nSteps: 20", encoding)
            taken.append(time.perf_counter() - start)
        sizes[name] = len(data)
        rows.append(f"| {name} | {min(taken) * 1000:.0f} | {len(data) // 1024} |\n")
    sys.stdout.write("".join(rows))
    assert sizes["png, effort 1"] < sizes["png, effort 6"] * 1.3
