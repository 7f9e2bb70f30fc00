"""What the stress test and the trace ask of extensions: stand-in models, requests, pictures."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

# it comes with insightface, which is of the extra `face`
onnx: Any = pytest.importorskip("onnx")

SIDE = 320
#: numbers in a weight that takes part in the mask by 0: 16 MB, so that a session left over is seen
BALLAST = 4_000_000


def models_folder(folder: Path, reference: Path) -> Path:
    """A models folder with a checkpoint of `reference`, by a link, and room for other kinds."""
    (folder / "u2net").mkdir(parents=True)
    (folder / "Stable-diffusion").symlink_to(reference / "Stable-diffusion")
    return folder


def write_cutter(path: Path, *, rounds: int = 0) -> None:
    """A model of u2netp's shapes that sees the foreground in red, and takes `rounds` to see it.

    A round is a convolution of 16 channels over the whole picture, which changes nothing.
    """
    nodes, weights = [], []

    def constant(name: str, values: NDArray[Any]) -> str:
        weights.append(onnx.numpy_helper.from_array(values, name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(onnx.helper.make_node(kind, inputs, [output], **attributes))
        return output

    red = np.array([1, -0.5, -0.5], np.float32).reshape(1, 3, 1, 1)
    seen = node("Conv", ["input.1", constant("red", red)], "seen")
    mean = node("ReduceMean", ["input.1"], "mean", axes=[1, 2, 3], keepdims=0)
    row = node("Unsqueeze", [mean, constant("axis", np.array([0]))], "row")
    ballast = constant("ballast", np.zeros((1, BALLAST), np.float32))
    nothing = node("ReduceMax", [node("MatMul", [row, ballast], "heavy")], "nothing", keepdims=0)
    channels = node("Conv", ["input.1", constant("wide", np.ones((16, 3, 1, 1), np.float32))], "c")
    mixing = constant("mixing", np.full((16, 16, 3, 3), 1e-3, np.float32))
    for number in range(rounds):
        mixed = node("Conv", [channels, mixing], f"mixed{number}", pads=[1, 1, 1, 1])
        channels = node("Tanh", [mixed], f"c{number}")
    still = node("Mul", [channels, constant("zero", np.zeros((), np.float32))], "still")
    flat = node("ReduceMax", [still], "flat", axes=[1], keepdims=1)
    mask = node("Sigmoid", [node("Add", [node("Add", [seen, flat], "s"), nothing], "t")], "output")
    graph = onnx.helper.make_graph(
        nodes,
        "cutter",
        [onnx.helper.make_tensor_value_info("input.1", onnx.TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [onnx.helper.make_tensor_value_info(mask, onnx.TensorProto.FLOAT, [1, 1, SIDE, SIDE])],
        weights,
    )
    made = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9
    )
    path.write_bytes(made.SerializeToString())


def half_red(edge: int, size: tuple[int, int] = (640, 480)) -> Image.Image:
    """Red to the left of `edge`, blue to the right."""
    picture = Image.new("RGB", size, (20, 40, 220))
    picture.paste((230, 30, 30), (0, 0, edge, size[1]))
    return picture


def base64_of(picture: Image.Image, kind: str = "PNG") -> str:
    """The picture as clients send it."""
    out = io.BytesIO()
    picture.save(out, kind)
    return base64.b64encode(out.getvalue()).decode()


def pixels_of(text: str) -> NDArray[np.uint8]:
    """The levels of a picture of a reply, [H, W] or [H, W, channels]."""
    with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
        return np.asarray(picture)
