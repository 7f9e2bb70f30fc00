"""Taggers in ONNX: a score for each of many tags; torch-free.

Two layouts are known, by the file of their tags. `selected_tags.csv`: the WD14 taggers (picture
on a white square, BGR, 0 to 255). `tags.txt`: DeepDanbooru (picture on a square of its own edges,
RGB, 0 to 1). Both take [N, side, side, 3] and give [N, tags], each from 0 to 1.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import CorruptCheckpoint, UnsupportedCheckpoint
from ..onnx import OnnxModel
from .files import SELECTED_TAGS, TaggerFiles, read_text

_RATING = "9"
_RATING_PREFIX = "rating:"
#: sides of the square where the model leaves it open
_WD14_SIDE, _DEEPDANBOORU_SIDE = 448, 512
_LARGEST_SIDE = 2048
#: how far rounding may take a score beyond 0 and 1
_SLACK = 1e-3


class Tagger:
    """A tagger in memory; for one thread at a time."""

    def __init__(self, model: OnnxModel, tags: Sequence[str | None], files: TaggerFiles) -> None:
        """Let `model` score `tags`, in the order of its output; those that are None are left out.

        Raises UnsupportedCheckpoint for an input of another shape.
        """
        self._model = model
        self._tags = tags
        self._files = files
        self._white = files.tags.name == SELECTED_TAGS
        self._side = _side(files.model, model.shape, open_side=self._open_side)

    @property
    def _open_side(self) -> int:
        return _WD14_SIDE if self._white else _DEEPDANBOORU_SIDE

    def scores(self, picture: Image.Image) -> Mapping[str, float]:
        """The score of every tag, 0 to 1. Raises CorruptCheckpoint."""
        square = _on_white(picture, self._side) if self._white else _on_edges(picture, self._side)
        scores = self._model.run(square[None])
        if scores.shape != (1, len(self._tags)):
            raise CorruptCheckpoint(
                self._files.tags,
                f"{len(self._tags)} tags; the model's output is {list(scores.shape)}",
            )
        if not ((scores >= -_SLACK) & (scores <= 1 + _SLACK)).all():
            raise CorruptCheckpoint(self._files.model, "its output is no probabilities")
        pairs = zip(self._tags, scores[0].tolist(), strict=True)
        return {tag: score for tag, score in pairs if tag is not None}


def open_tagger(files: TaggerFiles) -> Tagger:
    """Read the tagger. Raises `CheckpointError` and `NoOnnxruntime`."""
    tags = read_tags(files.tags)
    return Tagger(OnnxModel(files.model), tags, files)


def read_tags(path: Path) -> list[str | None]:
    """The tags in the order of their scores, None for a rating. Raises CorruptCheckpoint."""
    text = read_text(path)
    if path.name == SELECTED_TAGS:
        tags = _selected(path, text)
    else:
        lines = [line.strip() for line in text.split("\n")]
        tags = [None if tag.startswith(_RATING_PREFIX) else tag for tag in lines if tag]
    if not any(tags):
        raise CorruptCheckpoint(path, "no tags in it")
    return tags


def _selected(path: Path, text: str) -> list[str | None]:
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise CorruptCheckpoint(path, f"not a CSV table ({error})") from error
    for number, row in enumerate(rows, start=2):
        if not row.get("name") or row.get("category") is None:
            raise CorruptCheckpoint(path, f"line {number} has no name and category")
    return [None if row["category"] == _RATING else row["name"] for row in rows]


def _side(path: Path, shape: tuple[int | str | None, ...], *, open_side: int) -> int:
    """The side of the square that the model takes."""
    if len(shape) == 4 and shape[3] == 3:
        height, width = (size if isinstance(size, int) else open_side for size in shape[1:3])
        if height == width and 0 < height <= _LARGEST_SIDE:
            return height
    raise UnsupportedCheckpoint(
        path,
        f"its input is {list(shape)}; taggers take [N, side, side, 3], side <= {_LARGEST_SIDE}",
    )


def _on_white(picture: Image.Image, side: int) -> NDArray[np.float32]:
    """float32 [side, side, 3], BGR, 0 to 255: the picture amid a white square."""
    clear = picture.convert("RGBA")
    longest = max(clear.size)
    square = Image.new("RGB", (longest, longest), (255, 255, 255))
    corner = ((longest - clear.width) // 2, (longest - clear.height) // 2)
    square.paste(clear, corner, clear)
    fitted = square.resize((side, side), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(fitted, np.float32)[:, :, ::-1])


def _on_edges(picture: Image.Image, side: int) -> NDArray[np.float32]:
    """float32 [side, side, 3], RGB, 0 to 1: the picture amid a square, its edges drawn out."""
    plain = picture.convert("RGB")
    scale = side / max(plain.size)
    width, height = (max(round(size * scale), 1) for size in plain.size)
    fitted = np.asarray(plain.resize((width, height), Image.Resampling.LANCZOS), np.float32) / 255
    left, top = (side - width) // 2, (side - height) // 2
    around = ((top, side - height - top), (left, side - width - left), (0, 0))
    return np.pad(fitted, around, mode="edge")
