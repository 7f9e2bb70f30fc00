"""`python -m server`: one line and an end, or it serves until it is stopped."""

import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.__main__ import main
from server.startup import open_socket

from .log_state import log_restored

ROOT = Path(__file__).parents[2]
Refuse = Callable[..., tuple[int, str]]


@pytest.fixture
def refuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Refuse]:
    """Start it with flags that it cannot follow; gives the exit status and its one line."""
    monkeypatch.delenv("COMMANDLINE_ARGS", raising=False)

    def start(*argv: str, data: Path = tmp_path / "data") -> tuple[int, str]:
        status = main(["--data-dir", str(data), "--port", "0", *argv])
        errors = capsys.readouterr().err
        assert errors.count("\n") == 1, errors
        return status, re.sub(r"^\S+ \S+ ERROR +|\n$", "", errors)

    with log_restored():
        yield start


def test_it_answers_and_stops_when_told(tmp_path: Path) -> None:
    flags = shlex.split("--port 0 --subpath sd -f --api --xformers --theme dark --no-half")
    command = [sys.executable, "-m", "server", "--data-dir", str(tmp_path), *flags]
    environ = {key: value for key, value in os.environ.items() if key != "COMMANDLINE_ARGS"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stderr is not None
            lines = [process.stderr.readline() for _ in range(3)]
            url = re.search(r" INFO    listening url=(http://127\.0\.0\.1:\d+)/sd data=", lines[2])
            assert url, lines
            with urllib.request.urlopen(f"{url[1]}/internal/ping", timeout=20) as reply:
                assert (reply.status, reply.read()) == (200, b"{}")
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGTERM
    assert lines[0].endswith("INFO    accepted without effect here flags='--xformers --theme'\n")
    assert "INFO    no checkpoint found: using the embedded demo" in lines[1]


def test_a_port_in_use_is_one_line(refuse: Refuse) -> None:
    with open_socket("127.0.0.1", 0) as listener:
        port = str(listener.getsockname()[1])
        expected = f"port {port} on 127.0.0.1 is in use; choose another with --port"
        assert refuse("--port", port) == (1, expected)


def test_a_missing_checkpoint_is_one_line(refuse: Refuse, tmp_path: Path) -> None:
    missing = tmp_path / "no.safetensors"
    assert refuse("--ckpt", str(missing)) == (1, f"--ckpt {missing}: no such file")


def test_a_corrupt_checkpoint_asked_for_is_one_line(refuse: Refuse, tmp_path: Path) -> None:
    corrupt = tmp_path / "bad.safetensors"
    corrupt.write_bytes(b"not weights")
    status, line = refuse("--ckpt", str(corrupt))
    assert status == 1
    assert str(corrupt) in line


def test_unreadable_options_are_one_line(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{", "utf-8")
    status, line = refuse(data=tmp_path)
    assert status == 1
    assert "config.json" in line


def test_a_data_folder_that_cannot_be_written_is_one_line(refuse: Refuse, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    expected = f"cannot create the folder {blocked}/data: Not a directory"
    assert refuse(data=blocked / "data") == (1, expected)


def test_an_unusable_certificate_is_one_line(refuse: Refuse, tmp_path: Path) -> None:
    pem = tmp_path / "pem"
    pem.write_text("not a key", "utf-8")
    status, line = refuse("--tls-keyfile", str(pem), "--tls-certfile", str(pem))
    assert status == 1
    assert line.startswith(f"--tls-certfile {pem}: ")


def test_an_unknown_flag_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--medvrm"])
    assert stop.value.code == 2
    expected = "darkroom: unknown flag --medvrm; did you mean --medvram?\n"
    assert capsys.readouterr().err == expected
