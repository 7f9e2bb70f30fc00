"""What somebody who is to help with a fault must know of the server, and no secrets."""

import importlib.metadata
import os
import platform
import time
from functools import cache
from typing import Any

import psutil

from .reply import COMPATIBLE_VERSION
from .services import Services

_GIB = 2**30


@cache
def product_version() -> str:
    """The version of this server as it is installed; "unknown" for a bare checkout."""
    try:
        return importlib.metadata.version("darkroom")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def report(services: Services) -> dict[str, Any]:
    """The machine, the versions, the flags, the settings and the start, ready for JSON.

    Keys are those of webui's report where both tell the same; the environment is left out.
    """
    settings = services.settings
    return {
        "Date": time.strftime("%Y-%m-%d %H:%M:%S"),
        "Platform": platform.platform(),
        "Python": platform.python_version(),
        "Version": COMPATIBLE_VERSION,
        "Darkroom": product_version(),
        "Script path": os.getcwd(),
        "Data path": str(settings.data_path),
        "Flags": settings.cmd_flags(),
        "Without effect": list(settings.ignored),
        "CPU": _cpu(),
        "RAM": _ram(),
        "Device": services.jobs.device_memory(),
        "Jobs": len(services.jobs.jobs),
        "Checkpoints": [info.title for info in services.library.checkpoints.checkpoints()],
        "Config": services.options.current.as_wire(),
        "Startup": {"total": services.profile.total, "records": services.profile.stages},
        "Packages": _packages(),
    }


def _cpu() -> dict[str, Any]:
    return {
        "model": platform.processor() or platform.machine(),
        "count logical": psutil.cpu_count(logical=True),
        "count physical": psutil.cpu_count(logical=False),
    }


def _ram() -> dict[str, str]:
    try:
        memory = psutil.virtual_memory()
    except psutil.Error as error:
        return {"error": str(error)}
    return {"total": f"{memory.total / _GIB:.0f}GB", "free": f"{memory.available / _GIB:.0f}GB"}


def _packages() -> list[str]:
    found = {f"{each.name}=={each.version}" for each in importlib.metadata.distributions()}
    return sorted(found, key=str.lower)
