"""The whole app over a device that is not there."""

from collections.abc import Sequence
from pathlib import Path

from starlette.testclient import TestClient

from server.app import create_app
from server.services import Services
from server.settings import parse

from ..fakes import FakeDevice


def serve(folder: Path, argv: Sequence[str] = (), device: FakeDevice | None = None) -> TestClient:
    """A client of an app on the embedded demo; without `device` none ever comes up."""
    app = create_app(parse([*argv, "--data-dir", str(folder)]))
    services: Services = app.state.services
    if device is not None:
        services.jobs.ready(device)
    return TestClient(app, raise_server_exceptions=False)
