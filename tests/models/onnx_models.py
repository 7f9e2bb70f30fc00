"""Small ONNX models, made of the onnx package where it is there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest


def linear(side: int = 8, *, shape: Sequence[int | str | None] = (1, 8)) -> Any:
    """`y = x @ w`, with w of `side` x `side` ones, as a ModelProto."""
    onnx: Any = pytest.importorskip("onnx")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    weights = helper.make_tensor("w", floats, [side, side], [1.0] * side * side)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", floats, shape)],
        [helper.make_tensor_value_info("y", floats, [None, side])],
        [weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def saved(path: Path, model: Any) -> Path:
    """The model in a file, whatever stands in it of other files."""
    path.write_bytes(model.SerializeToString())
    return path
