"""The way to what imports torch: by name, in a thread, the device room first."""

import importlib
from typing import Any


def heavy(name: str = "server.runtime") -> Any:
    """A module that imports torch; blocks while it is imported, once.

    The device room comes first, and whole: two threads that import the same large package
    (diffusers, scipy) at a time find it half there. So whatever imports one asks here before.
    """
    room = importlib.import_module("server.runtime")
    return room if name == room.__name__ else importlib.import_module(name)
