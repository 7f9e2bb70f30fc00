"""What tests share: the reference checkpoints, and an app that serves them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from models import torchvision_ops as torchvision_ops  # before diffusers and transformers
from models.memory import settle
from server.app import create_app
from server.settings import parse

DATA = Path(__file__).parent / "data"

# numba, which rembg imports, gives all of OpenMP, and so torch, a thread a core. Of two workers on
# two cores each then waits for threads that have no core, and takes seven times as long.
if "OMP_NUM_THREADS" in os.environ:
    os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])


def pytest_collection_finish() -> None:
    """Leave all that is imported, a million objects, out of every search for cycles."""
    settle()


@pytest.fixture(scope="session")
def reference_models() -> Path:
    """A models folder with the tiny checkpoints that the goldens were recorded with."""
    return DATA / "reference-models"


@pytest.fixture(scope="session")
def client(
    reference_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    """An app on the reference checkpoints, as a client sees it; shared, so leave no settings."""
    data = tmp_path_factory.mktemp("data")
    checkpoint = reference_models / "Stable-diffusion" / "tiny-sd15.safetensors"
    styles = reference_models / "styles.csv"
    flags = ["--data-dir", str(data), "--models-dir", str(reference_models)]
    flags += ["--styles-file", str(styles)]
    flags += ["--embeddings-dir", str(reference_models / "embeddings")]
    # so that what is listed does not depend on when it is asked for
    flags += ["--no-background-hashing"]
    app = create_app(parse([*flags, "--ckpt", str(checkpoint), "--use-cpu", "all"]))
    with TestClient(app) as served:
        yield served
