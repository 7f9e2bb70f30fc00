"""Textual inversions hidden in pictures, as webui shares them.

The same JSON lies in a PNG's text chunk, in base64, and in the pixels: compressed, its low and
high halves of bytes in the lower four bits of a block left and right of the picture proper, a black
column between. The pixels survive a site that strips text. See "Textual Inversion" in webui's wiki.
"""

import base64
import json
import zlib
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..damage import PICTURE_DAMAGE

TEXT_CHUNK = "sd-ti-embedding"
TENSOR_KEY = "TORCHTENSOR"
FORMATS = ("PNG", "WEBP", "AVIF")
MAX_PIXELS = 4 << 20
MAX_JSON_BYTES = 16 << 20
# The generator of numbers that whitens the blocks ("Numerical Recipes", ranqd1), from 0.
FACTOR, INCREMENT, MODULUS = 1664525, 1013904223, 255


class BadPicture(Exception):
    """The picture cannot be read, or what it hides is damaged; the message is one line."""


def read_hidden(content: bytes) -> dict[str, object] | None:
    """Give what a picture file hides, its tensors made; None for a plain picture.

    Raises BadPicture.
    """
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BadPicture(f"{image.width}x{image.height} pixels are too many")
            image.load()
            text = getattr(image, "text", {}).get(TEXT_CHUNK)
            if isinstance(text, str):
                return _from_json(base64.b64decode(text))
            hidden = _from_pixels(np.asarray(image.convert("RGB")))
    except PICTURE_DAMAGE as error:
        raise BadPicture(f"is no picture that can be read ({type(error).__name__})") from error
    return None if hidden is None else _from_json(hidden)


def _from_json(raw: bytes) -> dict[str, object]:
    try:
        fields = json.loads(raw, object_hook=_with_tensors)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise BadPicture("the embedding in it is damaged") from error
    if not isinstance(fields, dict):
        raise BadPicture("the embedding in it is damaged")
    return fields


def _with_tensors(fields: dict[str, object]) -> dict[str, object] | Tensor:
    if fields.keys() == {TENSOR_KEY}:
        return torch.tensor(fields[TENSOR_KEY], dtype=torch.float32)
    return fields


def _from_pixels(pixels: NDArray[np.uint8]) -> bytes | None:
    """What the lower bits of the outer blocks of pixels [H,W,3] hold; None for nothing."""
    nibbles = pixels & 0x0F
    (black,) = np.nonzero(~nibbles.any(axis=(0, 2)))
    if len(black) < 2:
        return None
    low, high = nibbles[:, : black[0]], nibbles[:, black[-1] + 1 :]
    if low.shape != high.shape or not low.size:
        return None
    noise = _noise(low.size).reshape(low.shape)
    compressed = ((high ^ noise) << 4 | (low ^ noise)).tobytes()
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(compressed, MAX_JSON_BYTES)
    except zlib.error:
        return None
    return unpacked if unpacker.eof else None


def _noise(count: int) -> NDArray[np.uint8]:
    """The lower four bits of the generator's first `count` numbers."""
    powers = np.full(count, FACTOR, np.uint32)
    powers[0] = 1
    states = np.cumsum(np.cumprod(powers, dtype=np.uint32), dtype=np.uint32) * np.uint32(INCREMENT)
    return ((states % MODULUS) & 0x0F).astype(np.uint8)
