"""What finished pictures can be worked on with: upscalers and face restorers, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from PIL import Image

from pipelines.pictures.upscale import Upscaler
from pipelines.upscalers import PIXEL_UPSCALERS

Restorer = Callable[[Image.Image, float], Image.Image]
"""Restores the faces of a picture; the number is CodeFormer's weight, from 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What pictures can be worked on with, by the names of the wire."""

    upscalers: Mapping[str, Upscaler]
    restorers: Mapping[str, Restorer]


PLAIN = Tools(
    upscalers=MappingProxyType({name: name for name in PIXEL_UPSCALERS}),
    restorers=MappingProxyType({}),
)
"""The tools that need no weights."""
