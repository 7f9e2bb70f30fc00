"""What these tests share: rembg itself, and a folder with a model that finds what is red."""

from pathlib import Path

import pytest

from extensions.protocol import Workshop
from tests.extensions.rembg.standins import clothes, network, save, workshop

pytest.importorskip("onnxruntime")
pytest.importorskip("rembg")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """models/u2net with u2net.onnx, u2net_human_seg.onnx and u2net_cloth_seg.onnx."""
    for name in ("u2net", "u2net_human_seg"):
        save(network(), tmp_path / "u2net" / f"{name}.onnx")
    save(clothes(), tmp_path / "u2net" / "u2net_cloth_seg.onnx")
    return tmp_path / "u2net"


@pytest.fixture
def shop(folder: Path) -> Workshop:
    """A workshop over `folder`."""
    return workshop(folder)
