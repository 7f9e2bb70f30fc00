"""The routes that end the server, behind their flag; and that they do end it."""

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from server.api.stopping import SUPERVISOR

from .served import serve

ROOT = Path(__file__).parents[3]
ROUTES = ("server-stop", "server-restart", "server-kill")


def test_without_their_flag_they_are_not_there(tmp_path: Path) -> None:
    client = serve(tmp_path)
    for route in ROUTES:
        answer = client.post(f"/sdapi/v1/{route}")
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
    assert not any("server-" in path for path in client.get("/openapi.json").json()["paths"])


def test_a_restart_needs_somebody_who_starts_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    monkeypatch.delenv(SUPERVISOR, raising=False)
    client = serve(tmp_path, ["--api-server-stop"])
    answer = client.post("/sdapi/v1/server-restart")
    assert (answer.status_code, answer.content, raised) == (501, b"", [])
    monkeypatch.setenv(SUPERVISOR, "tmp/restart")
    answer = client.post("/sdapi/v1/server-restart")
    assert (answer.status_code, answer.text, raised) == (200, "Restarting.", [signal.SIGINT])


@pytest.mark.slow
@pytest.mark.parametrize(("route", "told"), [("server-stop", b"Stopping."), ("server-kill", None)])
def test_the_process_ends_well(tmp_path: Path, route: str, told: bytes | None) -> None:
    command = [sys.executable, "-m", "server", "--port", "0", "--api-server-stop"]
    environ = {key: value for key, value in os.environ.items() if key != "COMMANDLINE_ARGS"}
    with subprocess.Popen(
        [*command, "--data-dir", str(tmp_path), "--use-cpu", "all"],
        cwd=ROOT, env=environ, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            url = next(found[1] for line in lines if (found := re.search(r"url=(\S+)", line)))
            asked = urllib.request.Request(f"{url}/sdapi/v1/{route}", method="POST")
            try:
                with urllib.request.urlopen(asked, timeout=20) as reply:
                    assert reply.read() == told
            except (ConnectionError, urllib.error.URLError):
                assert told is None
            process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
