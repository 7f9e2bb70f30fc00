"""Models of the shapes that rembg runs, which find what is red; and a workshop that lends them."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from extensions.protocol import Host, Workshop
from models.onnx import session_options
from models.sessions import SessionCache

SIDE = 320
RED, BLUE = (255, 0, 0), (0, 0, 255)
#: logits of sure red and sure blue: so far apart that float32 has 1 and 0 of them
_SURE = 40.0


def network(
    *,
    side: int | str = SIDE,
    outputs: int = 7,
    weights: Sequence[Sequence[float]] = ((_SURE, 0.0, -_SURE),),
    bias: float = 0.0,
    logits: bool = False,
    inputs: Sequence[int | str] | None = None,
) -> Any:
    """A ModelProto as U2Net's: `input.1` [1, 3, side, side] -> `outputs` of [1, classes, ., .].

    Each class is a weighted sum of the three normalised colours, through a sigmoid unless `logits`.
    """
    onnx: Any = pytest.importorskip("onnx")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    shape = [1, 3, side, side] if inputs is None else list(inputs)
    kernel = np.asarray(weights, np.float32)[:, :, None, None]
    made = [
        onnx.numpy_helper.from_array(kernel, "weights"),
        onnx.numpy_helper.from_array(np.full(len(weights), bias, np.float32), "bias"),
    ]
    nodes = [helper.make_node("Conv", ["input.1", "weights", "bias"], ["sums"])]
    last = "sums"
    if not logits:
        nodes.append(helper.make_node("Sigmoid", ["sums"], ["sure"]))
        last = "sure"
    names = [str(1959 + each) for each in range(outputs)]
    nodes += [helper.make_node("Identity", [last], [name]) for name in names]
    given = helper.make_tensor_value_info("input.1", floats, shape)
    slots = [helper.make_tensor_value_info(name, floats, None) for name in names]
    graph = helper.make_graph(nodes, "finds red", [given], slots, made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=9)


def clothes() -> Any:
    """As u2net_cloth_seg: four classes of 768 x 768; red is 1, green 2, blue 3, black none."""
    rows = ((-1.0, -1.0, -1.0), (1.0, -1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, -1.0, 1.0))
    return network(side=768, weights=rows, logits=True)


def save(model: Any, path: Path) -> Path:
    """The model in a file of a folder that need not be there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def disc(size: tuple[int, int] = (SIDE, SIDE), mode: str = "RGB") -> Image.Image:
    """A red disc on blue."""
    width, height = size
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = BLUE
    picture[inside(size)] = RED
    return Image.fromarray(picture).convert(mode)


def inside(size: tuple[int, int] = (SIDE, SIDE)) -> NDArray[np.bool_]:
    """Which pixels are the disc's."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    near: NDArray[np.bool_] = np.hypot(x - width / 2, y - height / 2) < min(size) * 0.3
    return near


def workshop(folder: Path, sessions: SessionCache | None = None) -> Workshop:
    """A workshop whose weights of u2net are the files of `folder`; it lends nothing else."""
    return Workshop(**_lent(Workshop, folder, sessions))


def host(folder: Path, sessions: SessionCache | None = None) -> Host:
    """The same for a job."""
    return Host(**_lent(Host, folder, sessions))


def _lent(kind: type[Workshop], folder: Path, sessions: SessionCache | None) -> dict[str, Any]:
    kept = SessionCache(2**30) if sessions is None else sessions

    def weights(asked: str) -> Mapping[str, Path]:
        assert asked == "u2net"
        paths = sorted(path for path in folder.rglob("*.onnx") if path.is_file())
        return {path.relative_to(folder).as_posix(): path for path in paths}

    def unused(*_: Any) -> Any:
        raise AssertionError("rembg asks for nothing else")

    return {field.name: unused for field in fields(kind)} | {
        "options": {},
        "names": {},
        "folder": lambda _: folder,
        "weights": weights,
        "session": kept.get,
        "onnx": lambda: session_options("cpu"),
    }
