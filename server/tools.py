"""What finished pictures can be worked on with: upscalers and face restorers, by name."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import structlog
from PIL import Image

from extensions.protocol import Missing
from models.library import Library
from models.sessions import SessionCache
from models.upscalers.files import NOT_SUPPORTED
from pipelines.pictures.upscale import Upscaler
from pipelines.upscalers import PIXEL_UPSCALERS

from .faces import Restorers
from .options import Options, OptionsStore
from .settings import Settings
from .upscaling import Opener, Upscalers

log = structlog.get_logger(__name__)

Restorer = Callable[..., Image.Image]
"""Restores the faces of a picture, by CodeFormer's weight, from 0 to 1; a `Tick` may follow."""

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

    def under(self, options: Options) -> "Tools":
        """The same for a job with options of its own."""
        upscalers, restorers = self.upscalers, self.restorers
        if isinstance(upscalers, Upscalers):
            upscalers = upscalers.under(options)
        if isinstance(restorers, Restorers):
            restorers = restorers.under(options)
        return replace(self, upscalers=upscalers, restorers=restorers)


PLAIN = Tools(
    upscalers=MappingProxyType({name: name for name in PIXEL_UPSCALERS}),
    restorers=MappingProxyType({}),
)
"""The tools that need no weights."""


def open_tools(
    settings: Settings,
    library: Library,
    options: OptionsStore,
    sessions: SessionCache,
    *,
    restorers: Mapping[str, Restorer] = PLAIN.restorers,
    faces: Faces = _no_faces,
) -> Tools:
    """The tools of the folders, as these are at each look; what they open is kept in `sessions`."""
    for kind, reason in NOT_SUPPORTED.items():
        for file in library.tools[kind].files() if kind in library.tools else ():
            log.warning("upscaler left out", path=str(file.path), reason=reason)
    opener = Opener(settings, sessions, threading.Lock())
    upscalers = Upscalers(library, opener, lambda: options.current)
    return Tools(upscalers=upscalers, restorers=restorers, faces=faces)
