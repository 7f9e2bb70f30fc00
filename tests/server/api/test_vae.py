"""The VAE files over the wire."""

from pathlib import Path

from fastapi.testclient import TestClient

from server.app import create_app
from server.settings import parse

from ...models.files import one_tensor
from ..wire import recorded


def test_files_are_listed_as_soon_as_they_are_there(tmp_path: Path) -> None:
    client = TestClient(create_app(parse(["--data-dir", str(tmp_path)])))
    assert client.get("/sdapi/v1/sd-vae").json() == []
    path = one_tensor(tmp_path / "models" / "VAE" / "a.vae.safetensors")
    answer = client.post("/sdapi/v1/refresh-vae")
    assert (answer.status_code, answer.json()) == (200, None)
    listed = client.get("/sdapi/v1/sd-vae").json()
    assert listed == [{"model_name": "a.vae.safetensors", "filename": str(path)}]
    assert list(listed[0]) == list(recorded("get_sd_vae")["response"][0])
