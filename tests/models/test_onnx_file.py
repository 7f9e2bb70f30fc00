"""ONNX files looked at without their weights: slots, weights in other files, damage."""

import os
from pathlib import Path
from typing import Any

import pytest

from models.errors import CheckpointNotFound, CorruptCheckpoint
from models.onnx_file import OnnxSlot, read_onnx

from .onnx_models import linear, saved

ELSEWHERE = r"model.onnx: its weights are in other files"


def outside(tensor: Any, location: str = "../secret.bin") -> None:
    """Let a tensor's data be in another file."""
    onnx: Any = pytest.importorskip("onnx")
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


def test_its_slots_are_told(tmp_path: Path) -> None:
    onnx: Any = pytest.importorskip("onnx")
    model = linear(shape=("batch", None, -1, 8))
    model.graph.input.append(onnx.helper.make_tensor_value_info("free", 1, None))
    told = read_onnx(saved(tmp_path / "model.onnx", model))
    assert told.inputs == (
        OnnxSlot(name="x", shape=["batch", None, None, 8]),
        OnnxSlot(name="free", shape=[]),
    )
    assert told.outputs == (OnnxSlot(name="y", shape=[None, 8]),)


def test_the_slots_of_inner_graphs_are_not_the_models(tmp_path: Path) -> None:
    onnx: Any = pytest.importorskip("onnx")
    model, inner = linear(), linear().graph
    model.graph.node.append(onnx.helper.make_node("If", ["x"], ["z"], then_branch=inner))
    told = read_onnx(saved(tmp_path / "model.onnx", model))
    assert [slot.name for slot in (*told.inputs, *told.outputs)] == ["x", "y"]


@pytest.mark.parametrize("location", ["weights.bin", "../secret.bin", "/etc/passwd"])
def test_weights_in_another_file_are_refused(tmp_path: Path, location: str) -> None:
    model = linear()
    outside(model.graph.initializer[0], location)
    with pytest.raises(CorruptCheckpoint, match=ELSEWHERE):
        read_onnx(saved(tmp_path / "model.onnx", model))


@pytest.mark.parametrize("half", ["location", "entry"])
def test_half_of_a_sign_is_enough(tmp_path: Path, half: str) -> None:
    onnx: Any = pytest.importorskip("onnx")
    model = linear()
    if half == "location":
        model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    else:
        model.graph.initializer[0].external_data.add(key="location", value="a")
    with pytest.raises(CorruptCheckpoint, match=ELSEWHERE):
        read_onnx(saved(tmp_path / "model.onnx", model))


@pytest.mark.parametrize(
    "place", ["constant", "branch", "several", "sparse", "sparse constant", "function", "training"]
)
def test_they_are_found_wherever_they_are_named(tmp_path: Path, place: str) -> None:
    onnx: Any = pytest.importorskip("onnx")
    helper, model = onnx.helper, linear()
    tensor = helper.make_tensor("w", onnx.TensorProto.FLOAT, [2], [1.0, 2.0])
    outside(tensor)
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    sparse = onnx.SparseTensorProto(values=tensor, dims=[2])
    match place:
        case "constant":
            model.graph.node.append(constant)
        case "branch":
            inner = helper.make_graph([constant], "inner", [], [])
            outer = helper.make_graph([helper.make_node("Loop", [], [], body=inner)], "o", [], [])
            model.graph.node.append(helper.make_node("If", ["x"], ["z"], else_branch=outer))
        case "several":
            model.graph.node.append(helper.make_node("Odd", [], ["c"], values=[tensor]))
        case "sparse":
            model.graph.sparse_initializer.append(sparse)
        case "sparse constant":
            model.graph.node.append(helper.make_node("Odd", [], ["c"], value=sparse))
        case "function":
            opset = [helper.make_opsetid("", 18)]
            model.functions.append(helper.make_function("f", "g", [], ["c"], [constant], opset))
        case _:
            model.training_info.add().algorithm.node.append(constant)
    with pytest.raises(CorruptCheckpoint, match=ELSEWHERE):
        read_onnx(saved(tmp_path / "model.onnx", model))


def test_data_within_is_jumped_over_whatever_it_holds(tmp_path: Path) -> None:
    onnx: Any = pytest.importorskip("onnx")
    model = linear()
    for values in ({"raw": b"\xff" * 4000}, {"vals": [5] * 1000}):
        kind = onnx.TensorProto.FLOAT if "raw" in values else onnx.TensorProto.INT32
        tensor = onnx.helper.make_tensor("t", kind, [1000], values.get("raw", values.get("vals")),
                                         raw="raw" in values)  # fmt: skip
        model.graph.initializer.append(tensor)
    model.doc_string = "\x00\xff" * 3000
    assert len(read_onnx(saved(tmp_path / "model.onnx", model)).inputs) == 1


def test_cut_anywhere_it_is_refused_or_read_as_less(tmp_path: Path) -> None:
    whole = linear().SerializeToString()
    path = tmp_path / "model.onnx"
    refused = 0
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        try:
            read_onnx(path)
        except CorruptCheckpoint as error:
            assert "no sound ONNX file" in error.reason
            refused += 1
    # it can only be cut between two fields of the outermost message, after the graph
    assert len(whole) - refused < 3


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x80\x02}q\x00.", "the field at byte 3 goes beyond its end"),
        (b"PK\x03\x04" + b"\x00" * 60, "byte 2 begins no field"),
        (b"\xff" * 64, "a number without an end"),
        (b"\x3a\xff\xff\xff\xff\x0f", "goes beyond its end"),
        (b"\x00\x00", "byte 0 begins no field"),
        (b"\x08\x09", "no graph in it"),
        (b"", "no graph in it"),
    ],
)
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(CorruptCheckpoint, match=f"model.onnx: no sound ONNX file: .*{why}"):
        read_onnx(path)


def test_depth_and_length_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    content = b""
    for _ in range(30):
        for tag in (b"\x32", b"\x2a", b"\x0a"):  # the graph of an attribute of a node
            content = tag + _length(len(content)) + content
    path.write_bytes(b"\x3a" + _length(len(content)) + content)
    with pytest.raises(CorruptCheckpoint, match="nested too deep"):
        read_onnx(path)
    monkeypatch.setattr("models.onnx_file._MOST_FIELDS", 99)
    path.write_bytes(b"\x08\x01" * 100)
    with pytest.raises(CorruptCheckpoint, match="too many fields"):
        read_onnx(path)


def _length(value: int) -> bytes:
    low = bytes([value & 0x7F | (0x80 if value > 0x7F else 0)])
    return low + _length(value >> 7) if value > 0x7F else low


def test_a_file_that_is_not_there_or_is_a_pipe(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match=r"gone.onnx: no such file"):
        read_onnx(tmp_path / "gone.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(CheckpointNotFound):
        read_onnx(tmp_path / "pipe.onnx")
