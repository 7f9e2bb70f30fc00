"""The door to onnxruntime: shut, open over a stand-in, and over the real one where it is there."""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.captioning.files import find_tagger
from models.captioning.tagger import open_tagger
from models.errors import CorruptCheckpoint
from models.onnx import NoOnnxruntime, OnnxModel, onnx_failures, session_options, thread_budget

from .captioning.standins import (
    BROKEN,
    SIDE,
    SOUND,
    FakeRuntime,
    Fault,
    picture,
    tagger_files,
)

ZERO = np.zeros((1, SIDE, SIDE, 3), np.float32)


def test_without_onnxruntime_it_is_said_how_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for ask in (lambda: OnnxModel(tmp_path / "model.onnx"), lambda: session_options("cpu")):
        with pytest.raises(NoOnnxruntime, match=r"\./launch\.sh install brings it"):
            ask()


def test_its_failures_are_those_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> Any:
        raise Fault("out of all bounds")

    path = tmp_path / "model.onnx"
    path.write_bytes(BROKEN)
    fake = FakeRuntime(scores=fail)
    monkeypatch.setitem(sys.modules, "onnxruntime", fake.module())
    with pytest.raises(CorruptCheckpoint, match=r"model.onnx: .* cannot read it \(INVALID"):
        OnnxModel(path)
    path.write_bytes(SOUND)
    with pytest.raises(CorruptCheckpoint, match=r"cannot run it \(out of all bounds\)"):
        OnnxModel(path).run(ZERO)
    fake.inputs = 2
    with pytest.raises(CorruptCheckpoint, match="other inputs"):
        OnnxModel(path)


@pytest.fixture
def lend(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeRuntime]:
    """Puts a stand-in in the place of onnxruntime."""

    def put(**facts: Any) -> FakeRuntime:
        fake = FakeRuntime(scores=lambda values: values, **facts)
        monkeypatch.setitem(sys.modules, "onnxruntime", fake.module())
        return fake

    return put


def test_sessions_share_threads_however_often_they_are_asked_for(
    lend: Callable[..., FakeRuntime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.onnx.thread_budget", lambda: 3)
    fake = lend()
    told = [session_options("cpu") for _ in range(2)]
    assert fake.threads == [3]
    for options in told:
        assert options["providers"] == ["CPUExecutionProvider"]
        assert vars(options["sess_options"]) == {
            "log_severity_level": 3,
            "use_per_session_threads": False,
        }
    assert told[0]["sess_options"] is not told[1]["sess_options"]


def test_where_they_cannot_share_each_has_few(
    lend: Callable[..., FakeRuntime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.onnx.thread_budget", lambda: 3)
    bounded = {"log_severity_level": 3, "intra_op_num_threads": 3, "inter_op_num_threads": 1}
    lend(threads=None)
    assert vars(session_options("cpu")["sess_options"]) == bounded

    def refuse(*_: int) -> None:
        raise Fault("no threads for you")

    module = lend().module()
    monkeypatch.setattr(module, "set_global_thread_pool_sizes", refuse)
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    assert vars(session_options("cpu")["sess_options"]) == bounded


@pytest.mark.parametrize(
    ("device", "first"),
    [
        ("auto", ["CUDAExecutionProvider"]),
        ("cuda", ["CUDAExecutionProvider"]),
        ("cuda:0", ["CUDAExecutionProvider"]),
        ("cuda:2", [("CUDAExecutionProvider", {"device_id": "2"})]),
        ("cpu", []),
        ("mps", []),
    ],
)
def test_the_gpu_comes_first_where_it_serves(
    lend: Callable[..., FakeRuntime], device: str, first: list[Any]
) -> None:
    lend(providers=("CUDAExecutionProvider", "AzureExecutionProvider", "CPUExecutionProvider"))
    assert session_options(device)["providers"] == [*first, "CPUExecutionProvider"]
    lend()
    assert session_options(device)["providers"] == ["CPUExecutionProvider"]


@pytest.mark.parametrize(
    ("cores", "told", "threads"),
    [
        (8, None, 7),
        (2, None, 1),
        (1, None, 1),
        (8, "4", 4),
        (8, "99", 7),
        (8, "0", 7),
        (8, "4,2", 7),
    ],
)
def test_a_core_is_left_to_the_device_thread(
    monkeypatch: pytest.MonkeyPatch, cores: int, told: str | None, threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    if told is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert thread_budget() == threads


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


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_real_sessions_bring_no_threads_of_their_own(real: Path) -> None:
    runtime: Any = pytest.importorskip("onnxruntime")
    path = real / "torch_deepdanbooru" / "model.onnx"

    def opened() -> Any:
        return runtime.InferenceSession(str(path), **session_options("cpu"))

    kept = [opened()]
    before = _threads()
    kept += [opened() for _ in range(8)]
    assert _threads() == before
    # asked by several threads at a time, each gets its own answer
    answers: dict[int, float] = {}

    def ask(number: int) -> None:
        values = np.full((1, SIDE, SIDE, 3), number, np.float32)
        answers[number] = kept[number].run(["out"], {"in": values})[0][0, 0]

    askers = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert answers == {number: pytest.approx(number / 255, abs=1e-6) for number in range(8)}


def test_its_failures_can_be_caught(real: Path) -> None:
    runtime: Any = pytest.importorskip("onnxruntime")
    path = real / "torch_deepdanbooru" / "model.onnx"
    session = runtime.InferenceSession(str(path), **session_options("cpu"))
    for feed in ({"in": np.zeros((2, 2), np.float32)}, {"out": ZERO}, {"in": ZERO.astype("i4")}):
        with pytest.raises(onnx_failures()):
            session.run(["out"], feed)
