"""The launched server that the tests of a module share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .launched import Launched


@pytest.fixture(scope="module")
def server(reference_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    folder = tmp_path_factory.mktemp("launched")
    checkpoint = reference_models / "Stable-diffusion" / "tiny-sd15.safetensors"
    launched = Launched(
        folder / "log",
        *("--data-dir", str(folder / "data"), "--models-dir", str(reference_models)),
        *("--ckpt", str(checkpoint), "--use-cpu", "all", "--api", "--xformers"),
    )
    yield launched
    launched.process.kill()
    launched.process.wait()
