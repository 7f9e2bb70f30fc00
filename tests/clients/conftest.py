"""One launched server for all flows, as a user of browser tools starts it; a flow leaves no settings."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.launched import Launched

from .calls import PAGE, SMALL


@pytest.fixture(scope="session")
def server(reference_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    """A server on the reference checkpoints that has drawn once, and so knows its model's hash."""
    folder = tmp_path_factory.mktemp("clients")
    checkpoint = reference_models / "Stable-diffusion" / "tiny-sd15.safetensors"
    launched = Launched(
        folder / "log",
        *("--data-dir", str(folder / "data"), "--models-dir", str(reference_models)),
        *("--ckpt", str(checkpoint), "--use-cpu", "all", "--api", "--xformers"),
        *("--styles-file", str(reference_models / "styles.csv")),
        *("--embeddings-dir", str(reference_models / "embeddings")),
        # with the slash that openOutpaint tells its users to add
        *("--cors-allow-origins", f"https://elsewhere.example,{PAGE}/"),
    )
    try:
        launched.post("/sdapi/v1/txt2img", SMALL)
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
