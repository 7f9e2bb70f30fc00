"""The one door to rembg, which is an extra: it may not be installed."""

import importlib
import time
from types import ModuleType
from typing import Any

import structlog

from ..onnx_errors import onnx_errors
from ..protocol import Missing

log = structlog.get_logger(__name__)

_LONG = 2.0
"""Seconds of an import that are worth telling of."""


def session_class(name: str) -> Any:
    """rembg's class of a model. Raises Missing."""
    _load("rembg")
    return _load("rembg.sessions").sessions[name]


def cutouts() -> Any:
    """rembg's functions from a picture and its mask to what is cut out. Raises Missing."""
    return _load("rembg.bg")


def failures() -> tuple[type[Exception], ...]:
    """What is raised of a model that cannot be read or run."""
    return (*onnx_errors(), ValueError, RuntimeError)


def _load(name: str) -> ModuleType:
    """A module of rembg; the first import compiles for up to a minute, and keeps the result."""
    began = time.monotonic()
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise Missing(f"rembg is not installed ({error}); ./launch.sh install brings it") from error
    except RuntimeError as error:
        # numba, where it finds no folder for what it compiles
        raise Missing(
            f"rembg cannot be loaded ({error!s:.300}); "
            "where that tells of a cache, set NUMBA_CACHE_DIR to a folder that can be written"
        ) from error
    took = time.monotonic() - began
    if took > _LONG:
        log.info("rembg loaded", seconds=round(took, 1))
    return module
