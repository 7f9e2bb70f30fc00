"""Fixtures of the server's tests."""

from pathlib import Path

import pytest

from .wire import Wire
from .wire import wire as build


@pytest.fixture
def wire(tmp_path: Path) -> Wire:
    """An app started with no flags."""
    return build(tmp_path)
