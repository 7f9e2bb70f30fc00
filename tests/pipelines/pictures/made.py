"""Pictures for tests: drawn from a seed, and the reference's recorded ones."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

INPAINTING = Path(__file__).parents[2] / "data" / "inpainting"


def recorded(name: str) -> Image.Image:
    """A picture of `tests/data/inpainting`."""
    return Image.open(INPAINTING / f"{name}.png")


def noise(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """A picture of random pixels."""
    shape = (height, width, len(mode)) if len(mode) > 1 else (height, width)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8), mode=mode)


def spot(width: int, height: int, box: tuple[int, int, int, int]) -> Image.Image:
    """A black mask with a white box."""
    mask = Image.new("L", (width, height))
    mask.paste(255, box)
    return mask


def pixels(image: Image.Image) -> NDArray[Any]:
    """A picture's values as integers that can be subtracted."""
    return np.asarray(image).astype(np.int16)
