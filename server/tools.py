"""What finished pictures can be worked on with: upscalers and face restorers, by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from PIL import Image

from extensions.protocol import Missing
from pipelines.pictures.upscale import Upscaler
from pipelines.upscalers import PIXEL_UPSCALERS

Restorer = Callable[[Image.Image, float], Image.Image]
"""Restores the faces of a picture; the number is CodeFormer's weight, from 0 to 1."""

Faces = Callable[[Image.Image], Sequence[Any]]
"""Finds the faces of a picture, left to right, as insightface's `Face`; raises `Missing`."""


def _no_faces(image: Image.Image) -> Sequence[Any]:
    raise Missing("there is nothing that finds faces")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What pictures can be worked on with, by the names of the wire."""

    upscalers: Mapping[str, Upscaler]
    restorers: Mapping[str, Restorer]
    faces: Faces = _no_faces


PLAIN = Tools(
    upscalers=MappingProxyType({name: name for name in PIXEL_UPSCALERS}),
    restorers=MappingProxyType({}),
)
"""The tools that need no weights."""
