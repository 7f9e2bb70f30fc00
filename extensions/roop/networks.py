"""The one door of extensions.roop to insightface and onnxruntime, which may not be installed."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..onnx_errors import onnx_errors
from ..protocol import Missing

#: what insightface raises of a model that is not what it takes it for
_MISTAKEN = (AssertionError, AttributeError, LookupError, TypeError, ValueError, RuntimeError)
_SIDE, _EMBEDDING = 128, 512


def open_swapper(path: Path, onnx: Mapping[str, Any]) -> Any:
    """insightface's INSwapper of a file, tried out once on nothing.

    `onnx` is what the host says of onnxruntime. Raises Missing, also for other models.
    """
    library = _library("insightface.model_zoo")
    _library("onnxruntime")
    # its constructor prints to the standard output, which is the server's own
    vars(_library("insightface.model_zoo.inswapper"))["print"] = _say_nothing
    try:
        swapper = library.get_model(str(path), **onnx)
        _try_out(swapper)
    except _mistaken() as error:
        raise Missing(
            f"{path.name} is no INSwapper that can be run; inswapper_128.onnx is one "
            f"({error!s:.120})"
        ) from error
    return swapper


def open_session(path: Path, onnx: Mapping[str, Any]) -> Any:
    """An onnxruntime session of a file. Raises Missing."""
    runtime = _library("onnxruntime")
    try:
        return runtime.InferenceSession(str(path), **onnx)
    except _mistaken() as error:
        raise Missing(f"onnxruntime cannot read {path.name} ({error!s:.120})") from error


def crop_to_face(points: NDArray[np.float32]) -> NDArray[np.float64]:
    """The affine map, [2, 3], from a picture to the square that INSwapper sees of a face.

    `points` are its eyes, nose and corners of the mouth, [5, 2]; not finite where those coincide.
    """
    aligning = _library("insightface.utils.face_align")
    return np.asarray(aligning.estimate_norm(points, _SIDE), np.float64)


def _try_out(swapper: Any) -> None:
    """Raise ValueError unless a model has the shapes of INSwapper."""
    if type(swapper).__name__ != "INSwapper":
        raise ValueError("its inputs and outputs are those of another kind of model")
    if swapper.emap.shape != (_EMBEDDING, _EMBEDDING):
        raise ValueError("its last constant is no map of embeddings")
    crop = np.zeros((1, 3, _SIDE, _SIDE), np.float32)
    given = swapper.forward(crop, np.zeros((1, _EMBEDDING), np.float32))
    if given.shape != crop.shape:
        raise ValueError(f"its output has the shape {given.shape}")


def _mistaken() -> tuple[type[Exception], ...]:
    """What is raised of a model that cannot be used."""
    return (*_MISTAKEN, *onnx_errors())


def _say_nothing(*_: object, **__: object) -> None:
    pass


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise Missing(f"{package} is not installed; ./launch.sh install brings it") from error
