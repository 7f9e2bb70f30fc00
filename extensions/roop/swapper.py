"""Models that swap faces: found by name, and one face put in the place of another."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..protocol import Missing, Workshop
from .networks import crop_to_face, open_swapper

FOLDER = "roop"
FILE = "inswapper_128.onnx"
"""The model that everybody uses."""

_SIDE = 128
_MARGIN = 8
"""Pixels around the face's square that its soft edge may reach."""
_SHOWN = 8


class CannotSwap(ValueError):
    """A face cannot be swapped; the text says why."""


@dataclass(frozen=True, slots=True)
class Swapper:
    """An opened model by its file's name."""

    name: str
    network: Any

    def swapped(self, picture: NDArray[np.uint8], target: Any, source: Any) -> NDArray[np.uint8]:
        """A picture, [height, width, 3] in BGR, with the face `source` in place of `target`.

        Raises CannotSwap.
        """
        embedding = source.normed_embedding
        if embedding is None or not np.isfinite(embedding).all():
            raise CannotSwap("the source face has no embedding")
        left, top, right, bottom = _window(target.kps, picture.shape)
        part = np.ascontiguousarray(picture[top:bottom, left:right])
        moved = SimpleNamespace(kps=np.asarray(target.kps - (left, top), np.float32))
        try:
            # numbers that are none would be cast to colours without a word
            with np.errstate(invalid="raise"):
                painted = self.network.get(part, moved, source, paste_back=True)
        except (ValueError, FloatingPointError) as error:
            raise CannotSwap(f"{error!s:.80}") from error
        changed = picture.copy()
        changed[top:bottom, left:right] = painted
        return changed


def open_model(workshop: Workshop, name: str | None) -> Swapper:
    """The model of a name, opened or kept; without a name the first. Raises Missing."""
    files = workshop.weights(FOLDER)
    path = _found(files, name, workshop.folder(FOLDER))
    if path.suffix != ".onnx":
        raise Missing(f"{path.name} is no ONNX file: insightface reads no other")
    network = workshop.session((FOLDER, path), (path,), lambda: open_swapper(path, workshop.onnx()))
    return Swapper(path.name, network)


def _found(files: Mapping[str, Path], name: str | None, folder: Path) -> Path:
    """One of the files there are: by its name below the folder, its file name, or its path."""
    if not files:
        raise Missing(f"no model: {FILE} belongs in {folder}")
    if name is None:
        return next(iter(files.values()))
    asked = name.replace("\\", "/")
    spellings = (
        files,
        {path.name: path for path in reversed(list(files.values()))},
        {path.as_posix(): path for path in files.values()},
    )
    found = next((spelt[asked] for spelt in spellings if asked in spelt), None)
    if found is None:
        here = ", ".join(list(files)[:_SHOWN])
        raise Missing(f"no such model {name!r:.80}: in {folder} there are {here}")
    return found


def _window(points: Any, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The part of a picture that a swap can change: left, top, right and bottom.

    What INSwapper does takes the time of the whole picture that it is given.
    """
    if not np.isfinite(points).all():
        raise CannotSwap("its eyes, nose and mouth are nowhere")
    to_face = np.eye(3)
    to_face[:2] = crop_to_face(np.asarray(points, np.float32))
    if not np.isfinite(to_face).all() or abs(np.linalg.det(to_face)) < np.finfo(np.float32).eps:
        raise CannotSwap("its eyes, nose and mouth coincide")
    corners = np.array([[0, 0, 1], [_SIDE, 0, 1], [0, _SIDE, 1], [_SIDE, _SIDE, 1]])
    there = (np.linalg.inv(to_face) @ corners.T)[:2]
    limit = np.array([shape[1], shape[0]])
    low = np.clip(np.floor(there.min(1)) - _MARGIN, 0, limit).astype(int)
    high = np.clip(np.ceil(there.max(1)) + _MARGIN, 0, limit).astype(int)
    if (high <= low).any():
        raise CannotSwap("it lies outside the picture")
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])
