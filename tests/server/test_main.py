"""`python -m server` as a process of its own: one line and an end, or it serves until stopped."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.startup import open_socket

ROOT = Path(__file__).parents[2]


@contextmanager
def server(data: Path, *argv: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "server", "--data-dir", str(data), *argv]
    # the tests of launch.sh and of coverage may have set either
    environ = {key: value for key, value in os.environ.items() if key != "COMMANDLINE_ARGS"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environ, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def refusal(data: Path, *argv: str) -> tuple[int, str]:
    with server(data, *argv) as process:
        _, errors = process.communicate(timeout=30)
    assert errors.count("\n") == 1, errors
    return process.returncode, re.sub(r"^\S+ \S+ ERROR +|\n$", "", errors)


def url_of(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        found = re.search(r"listening url=(\S+)", line)
        if found:
            return found[1]
    raise AssertionError("it ended without listening")


def test_it_answers_within_three_seconds_and_stops_when_told(tmp_path: Path) -> None:
    start = time.monotonic()
    with server(tmp_path, "--port", "0") as process:
        with urllib.request.urlopen(f"{url_of(process)}/internal/ping", timeout=10) as reply:
            assert (reply.status, reply.read()) == (200, b"{}")
        # twice the promise, for a machine that runs the other tests beside
        assert time.monotonic() - start < 6
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM


def test_flags_without_a_meaning_are_named_in_one_line(tmp_path: Path) -> None:
    line = "--port 0 -f --api --xformers --theme dark --no-half"
    with server(tmp_path, *shlex.split(line)) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
    assert first.endswith("INFO    accepted without effect here flags='--xformers --theme'\n")


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with open_socket("127.0.0.1", 0) as listener:
        port = str(listener.getsockname()[1])
        expected = f"port {port} on 127.0.0.1 is in use; choose another with --port"
        assert refusal(tmp_path, "--port", port) == (1, expected)


def test_a_missing_checkpoint_is_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "no.safetensors"
    expected = f"--ckpt {missing}: no such file"
    assert refusal(tmp_path, "--port", "0", "--ckpt", str(missing)) == (1, expected)


def test_a_corrupt_checkpoint_asked_for_is_one_line(tmp_path: Path) -> None:
    corrupt = tmp_path / "bad.safetensors"
    corrupt.write_bytes(b"not weights")
    status, line = refusal(tmp_path, "--port", "0", "--ckpt", str(corrupt))
    assert status == 1
    assert str(corrupt) in line


def test_unreadable_options_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{", "utf-8")
    status, line = refusal(tmp_path, "--port", "0")
    assert status == 1
    assert "config.json" in line


def test_a_data_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    expected = f"cannot create the folder {blocked}/data: Not a directory"
    assert refusal(blocked / "data", "--port", "0") == (1, expected)


def test_an_unusable_certificate_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "pem").write_text("not a key", "utf-8")
    pem = str(tmp_path / "pem")
    status, line = refusal(tmp_path, "--port", "0", "--tls-keyfile", pem, "--tls-certfile", pem)
    assert status == 1
    assert line.startswith(f"--tls-certfile {pem}: ")


def test_an_unknown_flag_is_one_line(tmp_path: Path) -> None:
    expected = "darkroom: unknown flag --medvrm; did you mean --medvram?"
    assert refusal(tmp_path, "--medvrm") == (2, expected)


@pytest.mark.parametrize("flags", ["--subpath sd --port 0", "--server-name localhost --port 0"])
def test_the_address_is_announced(flags: str, tmp_path: Path) -> None:
    with server(tmp_path, *shlex.split(flags)) as process:
        url = url_of(process)
    assert re.fullmatch(r"http://(127\.0\.0\.1|\[::1\]):\d+(/sd)?", url)
    assert url.endswith("/sd") == ("sd" in flags)
