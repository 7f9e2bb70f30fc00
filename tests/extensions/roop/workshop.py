"""A workshop whose faces are given, and whose swapper paints a spot of one colour on a face."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from extensions.protocol import Host, Missing, Workshop
from extensions.roop.swapper import FOLDER

from ..fakes import FakeHost

# of the extra `face`
pytest.importorskip("insightface")

#: eyes, nose and corners of the mouth of a small face, around its middle
_POINTS = np.array([[-5, -5], [5, -5], [0, 0], [-4, 5], [4, 5]], np.float32)
SPOT = 3
"""Pixels from the middle of a face to the edge of what is painted on it."""


def face(x: float, y: float, colour: tuple[int, int, int] = (1, 2, 3)) -> Any:
    """A face with its middle there; as a source it paints the colour, in RGB."""
    return SimpleNamespace(
        kps=np.add(_POINTS, (x, y)),
        bbox=np.array([x - 8, y - 8, x + 8, y + 8]),
        normed_embedding=np.full(512, 512**-0.5, np.float32),
        colour=colour,
    )


class Painter:
    """In the place of insightface's INSwapper."""

    def get(
        self, picture: NDArray[np.uint8], target: Any, source: Any, paste_back: bool
    ) -> NDArray[np.uint8]:
        """The picture, in BGR, with the source's colour in the middle of the target."""
        assert paste_back and picture.flags.c_contiguous
        painted = picture.copy()
        x, y = target.kps.mean(0).round().astype(int)
        painted[y - SPOT : y + SPOT, x - SPOT : x + SPOT] = source.colour[::-1]
        return painted


@dataclass(eq=False)
class Fake:
    """What is lent, and how often faces were looked for.

    `faces` are those of pictures by their size; a swapper is there by default, and no detector of
    nudity.
    """

    faces: dict[tuple[int, int], list[Any]]
    files: dict[str, dict[str, Path]] = field(
        default_factory=lambda: {FOLDER: {"inswapper_128.onnx": Path("/m/roop/inswapper_128.onnx")}}
    )
    network: Any = field(default_factory=Painter)
    upscale: Callable[[Image.Image, str, float], Image.Image] | None = None
    restore: Callable[[Image.Image, str, float], Image.Image] | None = None
    stopped: Callable[[], bool] = lambda: False
    kept: dict[Hashable, Any] = field(default_factory=dict)
    looked: list[tuple[int, int]] = field(default_factory=list)

    def workshop(self) -> Workshop:
        """The fake as a route sees it."""
        return Workshop(**self._lent())

    def host(self) -> Host:
        """The fake as a hook sees it."""
        names = ("expect", "check", "generate", "describe", "skipped", "find_checkpoint")
        host = FakeHost().host()
        return Host(
            **self._lent(), stopped=self.stopped, **{name: getattr(host, name) for name in names}
        )

    def _lent(self) -> Mapping[str, Any]:
        return {
            "options": {"code_former_weight": 0.25},
            "names": {},
            "folder": lambda kind: Path("/m") / kind,
            "weights": lambda kind: self.files.get(kind, {}),
            "session": self._session,
            "onnx": dict,
            "faces": self._faces,
            "upscale": self.upscale or _unchanged,
            "restore": self.restore or _unchanged,
            "beside": _at_once,
        }

    def _session(self, key: Hashable, files: Sequence[Path], open: Callable[[], Any]) -> Any:
        if isinstance(key, tuple) and key[0] == FOLDER and files:
            return self.network
        if key not in self.kept:
            self.kept[key] = open()
        return self.kept[key]

    def _faces(self, image: Image.Image) -> Sequence[Any]:
        assert image.mode == "RGB"
        self.looked.append(image.size)
        if image.size not in self.faces:
            raise Missing("det_10g.onnx belongs in /m/insightface/models/buffalo_l")
        return self.faces[image.size]


def _unchanged(image: Image.Image, name: str, number: float) -> Image.Image:
    return image


def _at_once(work: Callable[[], Any]) -> Any:
    done: Future[Any] = Future()
    done.set_result(work())
    return done
