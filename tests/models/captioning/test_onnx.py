"""The door to onnxruntime: shut, open over a stand-in, and over the real one where it is there."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.captioning.files import find_tagger
from models.captioning.onnx import NoOnnxruntime, OnnxModel
from models.captioning.tagger import open_tagger
from models.errors import CorruptCheckpoint

from .standins import SIDE, FakeRuntime, Fault, picture, tagger_files

ZERO = np.zeros((1, SIDE, SIDE, 3), np.float32)


def test_without_onnxruntime_it_is_said_how_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(NoOnnxruntime, match="EXTRAS=face"):
        OnnxModel(tmp_path / "model.onnx")


def test_its_failures_are_those_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> Any:
        raise Fault("out of all bounds")

    path = tmp_path / "model.onnx"
    path.write_bytes(b"broken")
    fake = FakeRuntime(scores=fail)
    monkeypatch.setitem(sys.modules, "onnxruntime", fake.module())
    with pytest.raises(CorruptCheckpoint, match=r"model.onnx: .* cannot read it \(INVALID"):
        OnnxModel(path)
    path.write_bytes(b"sound")
    with pytest.raises(CorruptCheckpoint, match=r"cannot run it \(out of all bounds\)"):
        OnnxModel(path).run(ZERO)
    fake.inputs = 2
    with pytest.raises(CorruptCheckpoint, match="other inputs"):
        OnnxModel(path)


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A models folder with a real tagger: the mean of each colour, as blue, green, red."""
    onnx: Any = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    tagger_files(tmp_path / "torch_deepdanbooru", tags="name,category\nb,0\ng,0\nr,0\n")
    helper, numbers = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["in", "axes"], ["mean"], keepdims=0),
            helper.make_node("Div", ["mean", "most"], ["out"]),
        ],
        "tagger",
        [helper.make_tensor_value_info("in", numbers, ["N", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("out", numbers, ["N", 3])],
        [
            helper.make_tensor("axes", onnx.TensorProto.INT64, [2], [1, 2]),
            helper.make_tensor("most", numbers, [], [255.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "torch_deepdanbooru" / "model.onnx")
    return tmp_path


def test_a_real_tagger_is_run(real: Path) -> None:
    square = picture(size=(SIDE, SIDE))
    means = np.asarray(square, np.float64).mean((0, 1)) / 255
    scores = open_tagger(find_tagger(real)).scores(square)
    assert list(scores) == ["b", "g", "r"]
    assert list(scores.values()) == pytest.approx(means[::-1].tolist(), abs=1e-5)


@pytest.mark.parametrize("keep", [0, 40])
def test_a_real_damaged_tagger_is_named(real: Path, keep: int) -> None:
    path = real / "torch_deepdanbooru" / "model.onnx"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CorruptCheckpoint, match=r"model.onnx: "):
        open_tagger(find_tagger(real))
