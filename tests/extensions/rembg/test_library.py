"""The door to rembg where rembg is not behind it."""

import importlib
import os
import sys
from types import ModuleType

import pytest
import torch

from extensions.protocol import Missing
from extensions.rembg import library


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("rembg", "rembg.bg", "rembg.sessions"):
        monkeypatch.setitem(sys.modules, name, None)
    for door in (library.cutouts, lambda: library.session_class("u2net")):
        with pytest.raises(Missing, match=r"^rembg is not installed .*launch.sh install brings it"):
            door()


def test_a_cache_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """numba's words, where neither its package's folder nor the user's can be written."""

    def refuse(_: str) -> ModuleType:
        raise RuntimeError("cannot cache function '_boxfilter': no locator available for file")

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(Missing, match=r"no locator available .* set NUMBA_CACHE_DIR"):
        library.cutouts()


def test_what_onnxruntime_raises_is_known() -> None:
    names = {each.__name__ for each in library.failures()}
    assert {"Fail", "InvalidProtobuf", "InvalidArgument", "NoSuchFile", "RuntimeError"} <= names


def test_torch_keeps_the_threads_that_the_tests_are_told_to_have() -> None:
    """tests/conftest.py sees to it; else all tests behind this one were several times as slow."""
    told = os.environ.get("OMP_NUM_THREADS")
    if told is None:
        pytest.skip("nobody said how many")
    library.cutouts()
    assert torch.get_num_threads() == int(told)
