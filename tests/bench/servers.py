"""The servers that are measured: ours, started for it, and any other at an address."""

import base64
import json
import shlex
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from tests.bench.full_size import write_full_size
from tests.bench.report import note
from tests.e2e.launched import Launched, until

T2I = "/sdapi/v1/txt2img"
PROGRESS = "/sdapi/v1/progress"
REFERENCE = Path(__file__).parent.parent / "data" / "reference-models"
TINY = REFERENCE / "Stable-diffusion" / "tiny-sd15.safetensors"
#: a picture of full size takes minutes on a CPU
PATIENCE_S = 3600.0
ON_DEVICE: Mapping[str, tuple[str, ...]] = {
    "cpu": ("--use-cpu", "all"),
    "cuda": ("--device", "cuda"),
}
#: nothing of ours is hashed or refused while somebody else's turn is measured
STEADY = ("--no-background-hashing", "--max-queue", "1024")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all tables are told: a folder to work in, what to measure on, and how long.

    `pairs`, `side` and `steps` are None where the table is to choose.
    """

    folder: Path
    device: str = "cpu"
    threads: int = 1
    quick: bool = False
    full_size: bool = False
    checkpoint: Path | None = None
    pairs: int | None = None
    side: int | None = None
    steps: int | None = None

    def model(self) -> Path:
        """The checkpoint to measure with; one of full size is written when it is first wanted."""
        if self.checkpoint is not None:
            return self.checkpoint
        if not self.full_size:
            return TINY
        path = self.folder / "full-size.safetensors"
        if not path.exists():
            note("writing a checkpoint of SD1.5's true size")
            write_full_size(path)
        return path

    @property
    def is_tiny(self) -> bool:
        """Whether it is the tiny model that is measured with."""
        return self.checkpoint is None and not self.full_size


@dataclass(frozen=True, slots=True)
class Site:
    """A server that speaks the API, at `http://[user:password@]host:port`."""

    url: str

    def get(self, path: str) -> bytes:
        """The body of the answer, unread."""
        return self._ask(path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> bytes:
        """The body of the answer, unread: reading it is no part of what is measured."""
        return self._ask(path, json.dumps(body).encode())

    def request(self, path: str, body: bytes | None) -> urllib.request.Request:
        """What is sent, with the account of the address where it has one."""
        parts = urlsplit(self.url)
        account, _, host = parts.netloc.rpartition("@")
        headers = {"Content-Type": "application/json"}
        if account:
            word = base64.b64encode(unquote(account).encode()).decode()
            headers["Authorization"] = f"Basic {word}"
        place = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        return urllib.request.Request(place + path, body, headers)

    def _ask(self, path: str, body: bytes | None) -> bytes:
        with urllib.request.urlopen(self.request(path, body), timeout=PATIENCE_S) as reply:
            answer: bytes = reply.read()
            return answer


def site_of(server: Launched) -> Site:
    """Where a launched server answers."""
    return Site(f"http://127.0.0.1:{server.port}")


def launch(bench: Bench, name: str, flags: str = "", model: Path | None = None) -> Launched:
    """Start a server of ours with `flags` beside those that all have; whoever calls ends it."""
    path = bench.model() if model is None else model
    models = REFERENCE if path.is_relative_to(REFERENCE) else bench.folder / "models"
    models.mkdir(exist_ok=True)
    return Launched(
        bench.folder / f"{name}.log",
        *("--data-dir", str(bench.folder / f"{name}.data"), "--models-dir", str(models)),
        *("--ckpt", str(path), *ON_DEVICE[bench.device], *STEADY, *shlex.split(flags)),
        threads=bench.threads,
    )


def has_loaded(server: Launched) -> bool:
    """Whether the server has its checkpoint; one that has ended never will."""
    assert server.process.poll() is None, "the server has ended"
    return "checkpoint loaded" in server.log.read_text()


@contextmanager
def served(
    bench: Bench, name: str, flags: str = "", model: Path | None = None
) -> Iterator[Launched]:
    """A server of ours that has its checkpoint loaded."""
    server = launch(bench, name, flags, model)
    try:
        until(lambda: has_loaded(server))
        yield server
    except AssertionError as error:
        # the folder with the log is about to go
        raise RuntimeError(server.log.read_text()) from error
    finally:
        server.process.kill()
        server.process.wait()
