"""A server as a user starts it: another process, on a port of this machine."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 120.0
_THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Say with how many threads a server computes; numba, once imported, tells all others its own."""


def free_port() -> int:
    """A port that nobody listens on just now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(condition: Callable[[], bool]) -> None:
    """Wait for `condition`; fails the test when it does not come true."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


class Launched:
    """`python -m server` with flags, and the few calls that tests make."""

    def __init__(
        self, log: Path, *flags: str, program: Sequence[str] = ("server",), threads: int = 1
    ) -> None:
        """Start it; `program` is the module to run in the server's place, and what comes first.

        On a CPU it computes with `threads`.
        """
        self.port = free_port()
        self.log = log
        command = [sys.executable, "-m", *program, "--port", str(self.port), *flags]
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=out,
                stderr=out,
                env=os.environ | dict.fromkeys(_THREADS, str(threads)),
            )
        until(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return bool(self.get("/internal/ping") == {})
        except urllib.error.URLError:
            return False

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as reply:
            return json.load(reply)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
            return json.load(reply)

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)
