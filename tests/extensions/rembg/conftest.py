"""What these tests share: rembg itself, and a folder with a model that finds what is red."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from extensions.protocol import Workshop
from tests.extensions.rembg.standins import network, save, workshop

pytest.importorskip("onnxruntime")
pytest.importorskip("rembg")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """models/u2net with u2net.onnx in it."""
    save(network(), tmp_path / "u2net" / "u2net.onnx")
    return tmp_path / "u2net"


@pytest.fixture
def shop(folder: Path) -> Workshop:
    """A workshop over `folder`."""
    return workshop(folder)
