"""The one door to insightface, which is an extra: finds faces and tells them apart; torch-free."""

import importlib
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import CorruptCheckpoint
from ..onnx import onnx_failures
from ..onnx_file import OnnxFile, read_onnx
from .files import DETECTOR, RECOGNISER, FaceWeightsMissing

#: sides of the square that a picture is fitted into, tried in turn: large faces are found in small
SIDES = (640, 320)
#: a longer picture is looked at reduced; OpenCV warps none of 32768
MOST_SIDE = 4096
_THRESHOLD = 0.5
#: outputs of a detector that finds five points in each face, by 3 or 5 sizes of faces
_DETECTOR_OUTPUTS = (9, 15)
#: numbers that it gives for each place: score, box, points
_PLACE = (1, 4, 10)
_FACE_SIDE = 112


class NoInsightface(RuntimeError):
    """insightface is not installed."""

    def __init__(self) -> None:
        super().__init__("insightface is not installed; ./launch.sh install brings it")


class Analyser:
    """Finds faces by a detector and recogniser of insightface; for any number of threads."""

    def __init__(self, application: Any, folder: Path) -> None:
        """Look with a prepared `FaceAnalysis`, whose models are those of `folder`."""
        self._application = application
        self._folder = folder

    def detect(self, image: Image.Image) -> tuple[Any, ...]:
        """The faces left to right, as insightface's `Face`, with box, score and five points.

        Raises CorruptCheckpoint for a detector that cannot be run.
        """
        pixels, scale = _seen(image)
        return tuple(_scaled(face, scale) for face in self._detected(pixels))

    def faces(self, image: Image.Image) -> tuple[Any, ...]:
        """The same with their embeddings, 512 numbers each.

        Raises `FaceWeightsMissing` where there is no recogniser, and CorruptCheckpoint.
        """
        recogniser = self._application.models.get("recognition")
        if recogniser is None:
            raise FaceWeightsMissing(RECOGNISER, self._folder)
        pixels, scale = _seen(image)
        found = self._detected(pixels)
        for face in found:
            self._run(RECOGNISER, partial(recogniser.get, pixels, face))
            length = float(np.linalg.norm(face.embedding))
            if not math.isfinite(length) or length == 0:
                raise CorruptCheckpoint(self._folder / RECOGNISER, "cannot tell faces apart")
        return tuple(_scaled(face, scale) for face in found)

    def _detected(self, pixels: NDArray[np.uint8]) -> list[Any]:
        """Faces in [height, width, 3] BGR, left to right."""
        height, width = pixels.shape[:2]
        for side in SIDES:
            # a picture that is no pixel wide when fitted shows nothing
            if min(width, height) * side < max(width, height):
                break
            found: list[Any] = self._run(DETECTOR, partial(self._detected_at, pixels, side))
            if found:
                return sorted(found, key=lambda face: float(face.bbox[0]))
        return []

    def _detected_at(self, pixels: NDArray[np.uint8], side: int) -> list[Any]:
        face = importlib.import_module("insightface.app.common").Face
        boxes, points = self._application.det_model.detect(
            pixels, input_size=(side, side), det_thresh=_THRESHOLD
        )
        return [
            face(bbox=box[:4], kps=marks, det_score=box[4])
            for box, marks in zip(boxes, points, strict=True)
            if np.isfinite(box).all() and np.isfinite(marks).all()
        ]

    def _run(self, name: str, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except _failures() as error:
            raise CorruptCheckpoint(
                self._folder / name, f"insightface cannot run it ({error!s:.300})"
            ) from error


def open_analyser(folder: Path, onnx_options: Mapping[str, Any]) -> Analyser:
    """Read the models of a folder; `onnx_options` are those of `session_options`.

    Nothing is fetched. Raises `FaceWeightsMissing`, `NoInsightface`, `NoOnnxruntime`, and
    CorruptCheckpoint for files of the wrong shape, damaged ones, and those with weights elsewhere.
    """
    _check(folder)
    try:
        application = importlib.import_module("insightface.app.face_analysis")
    except ImportError as error:
        raise NoInsightface from error
    # insightface calls scikit-image by a name that is going out of use
    warnings.filterwarnings("ignore", "`estimate` is deprecated", FutureWarning)
    try:
        opened = application.FaceAnalysis(
            name=str(folder),
            allowed_modules=["detection", "recognition"],
            # one session for pictures of any size
            static_shape_sessions=False,
            **onnx_options,
        )
        opened.prepare(ctx_id=0, det_thresh=_THRESHOLD, det_size=(SIDES[0], SIDES[0]))
    except _failures() as error:
        raise CorruptCheckpoint(folder, f"insightface cannot open it ({error!s:.300})") from error
    return Analyser(opened, folder)


def _check(folder: Path) -> None:
    """Look for what insightface would look for: it tells the models apart by their shapes."""
    files = sorted(folder.glob("*.onnx"))
    shapes = {path: read_onnx(path) for path in files}
    counts = {path: len(model.outputs) for path, model in shapes.items()}
    if not any(count in _DETECTOR_OUTPUTS for count in counts.values()):
        named = folder / DETECTOR
        if named not in counts:
            raise FaceWeightsMissing(DETECTOR, folder)
        raise CorruptCheckpoint(
            named, f"is no detector of faces: it has {counts[named]} outputs, insightface's has 9"
        )
    for path, model in shapes.items():
        if len(model.outputs) in _DETECTOR_OUTPUTS:
            _check_detector(path, model)
    named = folder / RECOGNISER
    if named in shapes:
        _check_slot(named, shapes[named].inputs, (3, _FACE_SIDE, _FACE_SIDE), "input")
        _check_slot(named, shapes[named].outputs, (512,), "output")


def _check_detector(path: Path, model: OnnxFile) -> None:
    """A score, a box and five points a place: outputs a third of each, in this order."""
    levels = len(model.outputs) // len(_PLACE)
    for number, slot in enumerate(model.outputs):
        wanted, found = _PLACE[number // levels], slot.shape[-1] if slot.shape else None
        if isinstance(found, int) and found != wanted:
            raise CorruptCheckpoint(
                path,
                f"is no detector of faces: its output {number} has {found} numbers a place, "
                f"insightface's {wanted}",
            )


def _check_slot(path: Path, slots: Sequence[Any], wanted: tuple[int, ...], kind: str) -> None:
    """Compare all sizes of the first slot but the first, which counts pictures."""
    found = tuple(slots[0].shape[1:]) if slots else ()
    if found != wanted:
        raise CorruptCheckpoint(
            path, f"is no recogniser of faces: its {kind} is {found}, insightface's is {wanted}"
        )


def _failures() -> tuple[type[Exception], ...]:
    """What insightface, OpenCV and onnxruntime raise over models that are not what they say."""
    opencv = importlib.import_module("cv2")
    library = (opencv.error, AssertionError, AttributeError, LookupError, MemoryError, TypeError)
    return (*onnx_failures(), *library)


def _seen(image: Image.Image) -> tuple[NDArray[np.uint8], float]:
    """A picture as BGR, [height, width, 3], and its scale, below 1 where it is reduced."""
    scale = min(1.0, MOST_SIDE / max(image.size))
    if scale < 1:
        size = [max(1, round(side * scale)) for side in image.size]
        image = image.resize((size[0], size[1]), Image.Resampling.BILINEAR, reducing_gap=2.0)
    colours = np.asarray(image.convert("RGB"))
    return np.ascontiguousarray(colours[:, :, ::-1]), scale


def _scaled(face: Any, scale: float) -> Any:
    """The face with its places in the picture that was given."""
    if scale < 1:
        face.bbox, face.kps = face.bbox / scale, face.kps / scale
    return face
