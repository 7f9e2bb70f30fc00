"""Reads networks of ncnn, the form that Real-ESRGAN's weights are published in as a package.

Facts of the format (ncnn's documentation of its param and model files, and the files themselves):
the text begins with a magic number and the counts of layers and blobs; a layer's line is its type,
its name, how many blobs go in and out, their names, then `key=value`. The weights follow each other
in the order of the layers. A convolution's begin with a tag that says how they are stored (0 fp32,
0x01306B47 fp16, padded to four bytes), and its bias is plain fp32; a PReLU's slopes are plain fp32.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

MAGIC = "7767517"
FLOAT16_TAG = 0x01306B47
FLOAT32_TAG = 0
#: layers that have no weights
PLAIN = frozenset(
    ("BinaryOp", "Concat", "Eltwise", "Input", "Interp", "PixelShuffle", "Split", "ReLU")
)


class NotNcnn(Exception):
    """The two files are not a network that is understood here; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer's weights: of a convolution (out, in, h, w) fp16 or fp32, of a PReLU (channels,)."""

    kind: str
    weight: np.ndarray[Any, Any]
    bias: np.ndarray[Any, Any] | None


class _Weights:
    """What is left of a model file."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def take(self, count: int, dtype: str) -> np.ndarray[Any, Any]:
        size = count * np.dtype(dtype).itemsize
        if self._at + size > len(self._raw):
            raise NotNcnn("the model file ends too early")
        found = np.frombuffer(self._raw, dtype, count, self._at)
        self._at += -(-size // 4) * 4
        return found

    @property
    def left(self) -> int:
        return len(self._raw) - self._at


def layers(param: str, raw: bytes) -> tuple[Layer, ...]:
    """Read the layers with weights, in the order of the text. Raises NotNcnn."""
    magic, _, *lines = param.splitlines()
    if magic.strip() != MAGIC:
        raise NotNcnn(f"the text begins with {magic!r}, not {MAGIC}")
    weights = _Weights(raw)
    found = tuple(_layers(lines, weights))
    if weights.left:
        raise NotNcnn(f"{weights.left} bytes are left over")
    return found


def _layers(lines: list[str], weights: _Weights) -> Iterator[Layer]:
    for line in filter(None, map(str.strip, lines)):
        kind, _name, goes_in, goes_out, *rest = line.split()
        pairs = (word.split("=", 1) for word in rest[int(goes_in) + int(goes_out) :])
        settings = {int(key): value for key, value in pairs}
        match kind:
            case "Convolution":
                yield _convolution(settings, weights)
            case "PReLU":
                slopes = weights.take(int(settings[0]), "<f4")
                yield Layer(kind=kind, weight=slopes, bias=None)
            case _ if kind not in PLAIN:
                raise NotNcnn(f"a layer of the kind {kind} is not known")


def _convolution(settings: dict[int, str], weights: _Weights) -> Layer:
    out, side, count = (int(settings[key]) for key in (0, 1, 6))
    tag = int(weights.take(1, "<u4")[0])
    if tag not in (FLOAT16_TAG, FLOAT32_TAG):
        raise NotNcnn(f"weights with the tag {tag:#x} are not known")
    weight = weights.take(count, "<f2" if tag else "<f4").reshape(out, -1, side, side)
    bias = weights.take(out, "<f4") if settings.get(5) == "1" else None
    return Layer(kind="Convolution", weight=weight, bias=bias)


def compact(found: tuple[Layer, ...]) -> dict[str, torch.Tensor]:
    """Name a network of SRVGGNetCompact: convolutions and PReLUs are one row, `body`."""
    return _named(found, [f"body.{index}" for index in range(len(found))])


def rrdb(found: tuple[Layer, ...]) -> dict[str, torch.Tensor]:
    """Name a network of RRDBNet x4: blocks of three dense blocks of five convolutions."""
    convolutions = tuple(layer for layer in found if layer.kind == "Convolution")
    around = ["conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"]
    blocks, rest = divmod(len(convolutions) - 1 - len(around), 15)
    if rest:
        raise NotNcnn(f"{len(convolutions)} convolutions are no RRDBNet")
    body = [
        f"body.{block}.rdb{dense}.conv{conv}"
        for block in range(blocks)
        for dense in (1, 2, 3)
        for conv in (1, 2, 3, 4, 5)
    ]
    return _named(convolutions, ["conv_first", *body, *around])


def _named(found: tuple[Layer, ...], names: list[str]) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for name, layer in zip(names, found, strict=True):
        tensors[f"{name}.weight"] = torch.from_numpy(layer.weight.copy())
        if layer.bias is not None:
            tensors[f"{name}.bias"] = torch.from_numpy(layer.bias.copy())
    return tensors
