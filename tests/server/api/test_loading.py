"""Unloading and reloading the checkpoint, with a body or without, as often as one likes."""

from concurrent.futures import Future
from pathlib import Path

from models.choice import ModelChoice
from models.errors import CorruptCheckpoint
from models.sessions import SessionCache
from pipelines.generate import Generated

from ..fakes import FakeDevice
from .served import serve


class Device(FakeDevice):
    """Counts how often it was freed; loads nothing where it is told to fail."""

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__()
        self.freed = 0
        self._failure = failure

    def unload(self) -> None:
        self.freed += 1

    def load(self, choice: ModelChoice) -> Future[Generated]:
        if self._failure is None:
            return super().load(choice)
        future: Future[Generated] = Future()
        future.set_exception(self._failure)
        return future


def test_unload_and_reload_ignore_their_bodies(tmp_path: Path) -> None:
    device = Device()
    client = serve(tmp_path, device=device)
    for path in ("unload-checkpoint", "reload-checkpoint"):
        for body in (b"", b'""', b'"x"', b"{}"):
            answer = client.post(f"/sdapi/v1/{path}", content=body)
            assert (answer.status_code, answer.json()) == (200, {}), (path, body)
    assert device.freed == 4
    assert [choice.checkpoint.model_name for choice in device.loaded] == ["darkroom-demo"] * 4


def test_a_checkpoint_that_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    client = serve(tmp_path, device=Device(CorruptCheckpoint(Path("/m/a.safetensors"), "cut off")))
    answer = client.post("/sdapi/v1/reload-checkpoint")
    assert answer.status_code == 500
    assert answer.json()["error"] == "CorruptCheckpoint"
    assert answer.json()["errors"] == "/m/a.safetensors: cut off"


def test_unloading_lets_go_of_what_tools_hold(tmp_path: Path) -> None:
    client = serve(tmp_path, device=Device())
    sessions: SessionCache = client.app.state.services.sessions  # type: ignore[attr-defined]
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"x" * 100)
    first = sessions.get("net", [weights], object)
    assert (sessions.get("net", [weights], object), sessions.held) == (first, 100)
    client.post("/sdapi/v1/unload-checkpoint")
    assert sessions.held == 0
    assert sessions.get("net", [weights], object) is not first
