"""The composition root."""

import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from server import app as app_module
from server.app import create_app
from server.services import Services
from server.settings import parse

ROOT = Path(__file__).parent.parent.parent


def test_the_app_is_imported_without_torch() -> None:
    """What the port must wait for (docs/adr/0002): a heavy import here would cost seconds."""
    heavy = "{'torch', 'diffusers', 'transformers', 'torchsde'}"
    code = f"import sys, server.app; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_two_apps_in_one_process_share_nothing(tmp_path: Path) -> None:
    apps = [create_app(parse(["--data-dir", str(tmp_path / name)])) for name in ("a", "b")]
    first, second = (app.state.services for app in apps)
    assert isinstance(first, Services)
    first.options.set({"jpeg_quality": 11})
    assert second.options.current.jpeg_quality == 80
    assert first.jobs is not second.jobs


def test_lists_are_served_before_the_device_is_there(tmp_path: Path) -> None:
    # without `with`, the lifespan is not run, so nothing ever brings the device up
    client = TestClient(create_app(parse(["--data-dir", str(tmp_path)])))
    assert client.get("/internal/ping").json() == {}
    assert [each["model_name"] for each in client.get("/sdapi/v1/sd-models").json()] == [
        "darkroom-demo"
    ]
    assert client.get("/sdapi/v1/memory").json()["cuda"] == {"error": "the device is not ready yet"}


def test_typeless_json_is_read(tmp_path: Path) -> None:
    client = TestClient(create_app(parse(["--data-dir", str(tmp_path)])))
    reply = client.post("/sdapi/v1/txt2img", content=b'{"steps": "many"}')
    assert reply.status_code == 422
    assert reply.json()["detail"][0]["loc"] == ["body", "steps"]


def test_whatever_keeps_the_device_from_coming_up_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(services: Services) -> None:
        raise AttributeError("half a torch")

    monkeypatch.setattr(app_module, "_build", broken)
    app = create_app(parse(["--data-dir", str(tmp_path)]))
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.post("/sdapi/v1/txt2img", json={"steps": 1})
    assert (answer.status_code, answer.json()["errors"]) == (500, "half a torch")
