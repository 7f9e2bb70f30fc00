"""Stand-ins for the face models that cannot be had here: same inputs and outputs, no learning.

The detector has the shape of SCRFD and is a bank of matched filters: it finds the faces of the two
`photographs` at their true places, by what surrounds each (so that it finds them again once the
faces are swapped or restored), in any format and size of the whole picture, and no others. The
embedding is the aligned face at 13x13 pixels, the swapper paints such an embedding under an oval.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from . import photographs

# they come with insightface, which is of the extra `face`
cv2 = pytest.importorskip("cv2")
onnx = pytest.importorskip("onnx")

Floats = NDArray[np.floating]
Detector = Literal["photographs", "red", "crowd"]

#: where eyes, nose and mouth lie in a face of 112x112 pixels that ArcFace accepts (its paper)
ARCFACE = np.array(
    [[38.29, 51.70], [73.53, 51.50], [56.03, 71.74], [41.55, 92.37], [70.73, 92.20]], np.float32
)
SIDE = 640
CELLS = 24
"""Side of a template, in cells of half a stride."""
HOLE = 9.0
"""Radius around its middle that a template does not look at, in cells: the face itself."""
SMALL = 13
"""Side of a face within an embedding: 507 of 512 numbers; the last 5 are 1 before scaling."""
NAMES = {8: ("448", "451", "454"), 16: ("471", "474", "477"), 32: ("494", "497", "500")}
"""Scores, boxes and points of the real detector, by stride."""


def write_faces(models: Path, *, detector: Detector = "photographs") -> Path:
    """Write buffalo_l and inswapper_128 below a models folder; returns that of buffalo_l.

    `detector` "photographs" finds the faces of the two photographs; "red" also a face wherever
    there is a blob of saturated red; "crowd" 100 faces in every square picture.
    """
    folder = models / "insightface" / "models" / "buffalo_l"
    folder.mkdir(parents=True, exist_ok=True)
    (models / "roop").mkdir(exist_ok=True)
    _write_detector(folder / "det_10g.onnx", detector)
    _write_recogniser(folder / "w600k_r50.onnx")
    _write_constant(folder / "2d106det.onnx", side=192, values=_landmarks(106, 2))
    _write_constant(folder / "1k3d68.onnx", side=192, values=_landmarks(1103, 3))
    _write_constant(folder / "genderage.onnx", side=96, values=np.array([0.2, 0.8, 0.34]))
    _write_swapper(models / "roop" / "inswapper_128.onnx")
    return folder


@dataclass(slots=True)
class Graph:
    """An ONNX graph in the making."""

    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)

    def add(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        # named by the output: insightface reads meaning into names that begin with Sub or Mul
        self.nodes.append(
            onnx.helper.make_node(op, inputs, [output], name=f"n_{output}", **attributes)
        )
        return output

    def constant(self, name: str, value: object, dtype: type = np.float32) -> str:
        self.constants[name] = np.asarray(value, dtype)
        return name

    def save(
        self,
        path: Path,
        inputs: Mapping[str, Sequence[int | str]],
        outputs: Mapping[str, Sequence[int | str]],
    ) -> None:
        def values(slots: Mapping[str, Sequence[int | str]]) -> list[Any]:
            return [
                onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
                for name, shape in slots.items()
            ]

        held = [onnx.numpy_helper.from_array(value, name) for name, value in self.constants.items()]
        graph = onnx.helper.make_graph(self.nodes, "standin", values(inputs), values(outputs), held)
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        onnx.save(model, str(path))


def _write_detector(path: Path, detector: Detector) -> None:
    graph = Graph()
    graph.constant("two", 2.0)
    graph.constant("nothing", 0.0)
    graph.constant("rows", [-1, 1], np.int64)
    for stride, known in ((8, _known_in_group()), (16, _known_in_portrait())):
        # a correlation is never above 1
        least = 2.0 if detector == "crowd" else 0.9
        _matched_filters(graph, stride, least, *known)
    if detector == "crowd":
        _crowd(graph)
    else:
        _red_blobs(graph, wanted=detector == "red")
    order = [NAMES[stride][kind] for kind in range(3) for stride in NAMES]
    widths = [1, 1, 1, 4, 4, 4, 10, 10, 10]
    shapes = {name: ("N", width) for name, width in zip(order, widths, strict=True)}
    graph.save(path, {"input.1": (1, 3, "?", "?")}, shapes)


def _known_in_group() -> tuple[Floats, NDArray[Any], NDArray[Any]]:
    return _known(photographs.group(), photographs.GROUP_BOXES, photographs.GROUP_POINTS)


def _known_in_portrait() -> tuple[Floats, NDArray[Any], NDArray[Any]]:
    return _known(photographs.portrait(), photographs.PORTRAIT_BOXES, photographs.PORTRAIT_POINTS)


def _known(
    picture: Any, boxes: Sequence[object], points: Sequence[object]
) -> tuple[Floats, NDArray[Any], NDArray[Any]]:
    """A photograph as the detector is given it, [1, 3, 640, 640], and its faces in those pixels."""
    width, height = picture.size
    scale = SIDE / max(width, height)
    small = cv2.resize(np.asarray(picture), (int(width * scale), int(height * scale)))
    seen = np.zeros((SIDE, SIDE, 3), np.float32)
    seen[: small.shape[0], : small.shape[1]] = small
    blob = ((seen - 127.5) / 128).transpose(2, 0, 1)[None]
    return blob, np.array(boxes) * scale, np.array(points) * scale


def _matched_filters(
    graph: Graph,
    stride: int,
    least: float,
    seen: Floats,
    boxes: NDArray[Any],
    points: NDArray[Any],
) -> None:
    """A face where the normalised correlation with what surrounds a known face is over `least`."""
    s, cell = str(stride), stride // 2
    offsets = (np.arange(CELLS) - (CELLS - 1) / 2) ** 2
    ring = (np.add.outer(offsets, offsets) > HOLE**2).astype(np.float32)
    middles = points.mean(1)
    anchors = np.round((middles - cell) / stride).astype(int) * stride
    pooled = seen.reshape(1, 3, SIDE // cell, cell, SIDE // cell, cell).mean((3, 5))[0]
    margin = CELLS // 2 - 1
    pooled = np.pad(pooled, ((0, 0), (margin, margin), (margin, margin)))
    templates = []
    for x, y in anchors // cell:
        cut = pooled[:, y : y + CELLS, x : x + CELLS]
        cut = (cut - (cut * ring).sum() / (3 * ring.sum())) * ring
        templates.append(cut / np.linalg.norm(cut))
    graph.constant("w" + s, np.stack(templates))
    graph.constant("ring" + s, np.repeat(ring[None, None] / (3 * ring.sum()), 3, axis=1))
    window = {"strides": [2, 2], "pads": [margin] * 4}
    pool = {"kernel_shape": [cell, cell], "strides": [cell, cell]}
    graph.add("AveragePool", ["input.1"], "cells" + s, **pool)
    graph.add("Conv", ["cells" + s, "w" + s], "along" + s, **window)
    graph.add("Conv", ["cells" + s, "ring" + s], "mean" + s, **window)
    graph.add("Pow", ["cells" + s, "two"], "squares" + s)
    graph.add("Conv", ["squares" + s, "ring" + s], "power" + s, **window)
    graph.add("Pow", ["mean" + s, "two"], "level" + s)
    graph.add("Sub", ["power" + s, "level" + s], "spread" + s)
    # what hardly varies resembles nothing
    graph.add("Max", ["spread" + s, graph.constant("floor" + s, 1e-3)], "some" + s)
    graph.add("Mul", ["some" + s, graph.constant("count" + s, 3 * ring.sum())], "energy" + s)
    graph.add("Sqrt", ["energy" + s], "length" + s)
    graph.add("Div", ["along" + s, "length" + s], "likeness" + s)
    graph.add("ReduceMax", ["likeness" + s], "best" + s, axes=[1], keepdims=1)
    graph.add("ArgMax", ["likeness" + s], "which" + s, axis=1, keepdims=0)
    graph.add("Sub", ["best" + s, graph.constant("enough" + s, least)], "over" + s)
    graph.add("Mul", ["over" + s, graph.constant("steep" + s, 60.0)], "logit" + s)
    graph.add("Sigmoid", ["logit" + s], "found" + s)
    corners = np.concatenate([anchors - boxes[:, :2], boxes[:, 2:] - anchors], axis=1)
    marks = (points - anchors[:, None]).reshape(len(points), 10)
    for kind, table in ((1, corners), (2, marks)):
        names = [f"{part}{kind}_{s}" for part in ("table", "each", "twice")]
        graph.constant(names[0], table / stride)
        graph.add("Gather", [names[0], "which" + s], names[1], axis=0)
        _twice(graph, names[1], table.shape[1], NAMES[stride][kind])
    _scores(graph, "found" + s, NAMES[stride][0])


def _scores(graph: Graph, found: str, output: str) -> None:
    """[1, 1, h, w] -> [2hw, 1]: of the two anchors of a place the first has the score."""
    graph.add("Reshape", [found, "rows"], f"first_{output}")
    graph.add("Mul", [f"first_{output}", "nothing"], f"second_{output}")
    graph.add("Concat", [f"first_{output}", f"second_{output}"], f"both_{output}", axis=1)
    graph.add("Reshape", [f"both_{output}", "rows"], output)


def _twice(graph: Graph, values: str, width: int, output: str) -> None:
    """[1, h, w, width] -> [2hw, width], the same for both anchors of a place."""
    graph.add("Concat", [values, values], f"double_{output}", axis=3)
    shape = graph.constant(f"width_{output}", [-1, width], np.int64)
    graph.add("Reshape", [f"double_{output}", shape], output)


def _red_blobs(graph: Graph, *, wanted: bool) -> None:
    """A face in the middle of each red blob, as wide as the blob; none unless `wanted`."""
    graph.constant("redness", np.array([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1))
    graph.constant("others", np.eye(3)[1:].reshape(2, 3, 1, 1))
    graph.add("Conv", ["input.1", "redness"], "red")
    graph.add("Conv", ["input.1", "others"], "rest")
    graph.add("ReduceMax", ["rest"], "rest_most", axes=[1], keepdims=1)
    graph.add("Sub", ["red", "rest_most"], "redder")
    graph.add("Sub", ["redder", graph.constant("pure", 0.9)], "redder_still")
    graph.add("Mul", ["redder_still", "two"], "reds")
    graph.add("Clip", ["reds", "nothing", graph.constant("one", 1.0)], "reds_clipped")
    pool = {"kernel_shape": [32, 32], "strides": [32, 32]}
    graph.add("AveragePool", ["reds_clipped"], "patches", **pool)
    near = np.exp(-(((np.arange(15) - 7) / 3) ** 2) / 2)
    bell = np.outer(near, near)
    graph.constant("bell", (bell / bell.sum())[None, None])
    graph.constant("all_around", np.ones((1, 1, 15, 15)))
    graph.add("Conv", ["patches", "bell"], "dense", pads=[7] * 4)
    graph.add("MaxPool", ["dense"], "densest", kernel_shape=[15, 15], pads=[7] * 4)
    graph.add("Sub", ["dense", "densest"], "below")
    graph.add("Mul", ["below", graph.constant("much", 1e4)], "far_below")
    graph.add("Add", ["dense", "far_below"], "peaks")
    least = 0.08 if wanted else 1e3
    graph.add("Sub", ["peaks", graph.constant("least", least)], "peaks_over")
    graph.add("Mul", ["peaks_over", graph.constant("sharp", 100.0)], "peaks_logit")
    graph.add("Sigmoid", ["peaks_logit"], "blobs")
    _scores(graph, "blobs", NAMES[32][0])
    graph.add("Conv", ["patches", "all_around"], "area", pads=[7] * 4)
    graph.add("Sqrt", ["area"], "side")
    graph.add("Transpose", ["side"], "side_last", perm=[0, 2, 3, 1])
    # an anchor is the upper left corner of its patch; the side is in patches
    half = [0.4, 0.5, 0.4, 0.5]
    marks = ((ARCFACE - 56) / 112).reshape(10)
    for kind, table, middle in ((1, half, [-0.5, -0.5, 0.5, 0.5]), (2, marks, [0.5] * 10)):
        graph.add("Mul", ["side_last", graph.constant(f"sizes{kind}", table)], f"sized{kind}")
        centred = graph.constant(f"middle{kind}", middle)
        graph.add("Add", [f"sized{kind}", centred], f"placed{kind}")
        _twice(graph, f"placed{kind}", len(table), NAMES[32][kind])


def _crowd(graph: Graph) -> None:
    """A face at every second place of every second row, in any picture."""
    graph.constant("pattern", np.kron(np.ones((10, 10)), [[1, 0], [0, 0]])[None, None] * 0.9)
    graph.add("AveragePool", ["input.1"], "patches", kernel_shape=[32, 32], strides=[32, 32])
    graph.add("ReduceMean", ["patches"], "grey", axes=[1], keepdims=1)
    graph.add("Mul", ["grey", "nothing"], "blank")
    graph.add("Shape", ["blank"], "size")
    corner = graph.constant("corner", [0, 0, 0, 0], np.int64)
    graph.add("Slice", ["pattern", corner, "size"], "places")
    graph.add("Add", ["blank", "places"], "people")
    _scores(graph, "people", NAMES[32][0])
    graph.add("Transpose", ["blank"], "blank_last", perm=[0, 2, 3, 1])
    marks = ((ARCFACE - 56) / 80 + 0.5).reshape(10)
    for kind, table in ((1, [0.1, 0.2, 1.1, 1.2]), (2, marks)):
        graph.add("Add", ["blank_last", graph.constant(f"sizes{kind}", table)], f"placed{kind}")
        _twice(graph, f"placed{kind}", len(table), NAMES[32][kind])


def _write_recogniser(path: Path) -> None:
    graph = Graph()
    graph.add("AveragePool", ["input.1"], "small", kernel_shape=[16, 16], strides=[8, 8])
    graph.add("Flatten", ["small"], "pixels", axis=1)
    graph.add("MatMul", ["pixels", graph.constant("none", np.zeros((507, 5)))], "zeros")
    graph.add("Add", ["zeros", graph.constant("ones", np.ones((1, 5)))], "known")
    graph.add("Concat", ["pixels", "known"], "683", axis=1)
    graph.save(path, {"input.1": ("None", 3, 112, 112)}, {"683": ("None", 512)})


def _write_constant(path: Path, *, side: int, values: NDArray[Any]) -> None:
    """A model that gives the same for every picture."""
    graph = Graph()
    graph.add("GlobalAveragePool", ["data"], "mean")
    graph.add("Flatten", ["mean"], "flat", axis=1)
    graph.add("MatMul", ["flat", graph.constant("none", np.zeros((3, values.size)))], "zeros")
    graph.add("Add", ["zeros", graph.constant("always", values.reshape(1, -1))], "fc1")
    graph.save(path, {"data": ("None", 3, side, side)}, {"fc1": ("None", values.size)})


def _landmarks(count: int, width: int) -> NDArray[Any]:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (count, width))


def _write_swapper(path: Path) -> None:
    """Paint the face of an embedding under an oval; undoes `emap`, an order of the 512 numbers."""
    graph = Graph()
    order = np.random.default_rng(1).permutation(512)
    graph.add("Gather", ["source", graph.constant("order", order, np.int64)], "plain", axis=1)
    for name, begin, end in (("pixels", 0, 507), ("known", 507, 508)):
        spans = [graph.constant(f"{name}_{at}", [at], np.int64) for at in (begin, end)]
        axis = graph.constant(f"{name}_axis", [1], np.int64)
        graph.add("Slice", ["plain", *spans, axis], name)
    graph.add("Div", ["pixels", "known"], "values")
    shape = graph.constant("shape", [1, 3, SMALL, SMALL], np.int64)
    graph.add("Reshape", ["values", shape], "face")
    size = graph.constant("size", [1, 3, 104, 104], np.int64)
    graph.add("Resize", ["face", "", "", size], "large", mode="linear")
    # a pixel of the small face is the mean of 16 from 8 further on; the swapper's crop of 128
    # is ArcFace's of 112 with 8 more at either side and 16 below
    around = graph.constant("around", [0, 0, 4, 12, 0, 0, 20, 12], np.int64)
    graph.add("Pad", ["large", around], "whole", mode="edge")
    graph.constant("half", 0.5)
    graph.add("Mul", ["whole", "half"], "scaled")
    graph.add("Add", ["scaled", "half"], "painted")
    y, x = np.mgrid[0:128, 0:128]
    oval = np.clip(3 - 3 * (((x - 63.5) / 44) ** 2 + ((y - 70) / 56) ** 2), 0, 1)
    graph.add("Sub", ["painted", "target"], "change")
    graph.add("Mul", ["change", graph.constant("oval", oval[None, None])], "seen")
    graph.add("Add", ["target", "seen"], "mixed")
    low, high = graph.constant("low", 0.0), graph.constant("high", 1.0)
    graph.add("Clip", ["mixed", low, high], "output")
    # insightface takes the last constant for the map; no node reads it
    graph.constant("emap", np.eye(512)[order])
    slots = {"target": (1, 3, 128, 128), "source": (1, 512)}
    graph.save(path, slots, {"output": (1, 3, 128, 128)})
