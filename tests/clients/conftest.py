"""One launched server for all flows, and its settings put back after each."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.launched import Launched

from .calls import PAGE, SD15, SMALL, TXT2IMG, is_drawn


@pytest.fixture(scope="session")
def models(reference_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder that tests may add to."""
    folder = tmp_path_factory.mktemp("clients") / "models"
    shutil.copytree(reference_models, folder)
    return folder


@pytest.fixture(scope="session")
def server(models: Path) -> Iterator[Launched]:
    """A server on `models` that has drawn once, and so knows its model's hash.

    It is first called as runpod's worker-a1111 does: a picture is asked for as soon as the list of
    checkpoints is answered, which is before the device is there.
    """
    data, styles = models.parent / "data", str(models / "styles.csv")
    launched = Launched(
        models.parent / "log",
        *("--data-dir", str(data), "--models-dir", str(models), "--styles-file", styles),
        *("--ckpt", str(models / "Stable-diffusion" / SD15), "--use-cpu", "all", "--api"),
        *("--embeddings-dir", str(models / "embeddings"), "--xformers"),
        # with the slash that openOutpaint tells its users to add
        *("--cors-allow-origins", f"https://elsewhere.example,{PAGE}/"),
    )
    try:
        assert launched.get("/sdapi/v1/sd-models")
        assert is_drawn(launched.post(TXT2IMG, dict(SMALL))["images"][0])
        yield launched
    finally:
        launched.process.kill()
        launched.process.wait()


@pytest.fixture(scope="session")
def http(server: Launched) -> Iterator[httpx.Client]:
    """Plain HTTP to `server`."""
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=120) as client:
        yield client


@pytest.fixture(autouse=True)
def _settings_put_back(http: httpx.Client) -> Iterator[None]:
    """Every flow begins on the settings that the server was started with."""
    before = http.get("/sdapi/v1/options").json()
    yield
    assert http.post("/sdapi/v1/options", json=before).status_code == 200
