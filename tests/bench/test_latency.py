"""How soon the server answers, and how fast while it paints: `pytest -m bench tests/bench -s`."""

import statistics
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.e2e.launched import Launched, until

pytestmark = pytest.mark.bench

PAINTING = {"prompt": "1 girl", "steps": 400, "width": 256, "height": 256, "seed": 1}
ASKED = 100


def milliseconds(server: Launched, path: str) -> list[float]:
    taken = []
    for _ in range(ASKED):
        start = time.perf_counter()
        server.get(path)
        taken.append((time.perf_counter() - start) * 1000)
        time.sleep(0.02)
    return sorted(taken)


def row(name: str, taken: list[float]) -> str:
    middle, high = statistics.median(taken), taken[int(len(taken) * 0.95)]
    return f"| {name} | {middle:.1f} | {high:.1f} | {taken[-1]:.1f} |\n"


def test_latency(reference_models: Path, tmp_path: Path) -> None:
    checkpoint = reference_models / "Stable-diffusion" / "tiny-sd15.safetensors"
    start = time.perf_counter()
    server = Launched(
        tmp_path / "log",
        *("--data-dir", str(tmp_path / "data"), "--models-dir", str(reference_models)),
        *("--ckpt", str(checkpoint), "--use-cpu", "all"),
    )
    up = time.perf_counter() - start
    try:
        server.post("/sdapi/v1/txt2img", PAINTING | {"steps": 1})
        first = time.perf_counter() - start
        idle = milliseconds(server, "/sdapi/v1/progress")
        job = threading.Thread(target=server.post, args=("/sdapi/v1/txt2img", PAINTING))
        job.start()
        until(lambda: server.get("/sdapi/v1/progress")["state"]["sampling_step"] > 0)
        bare = milliseconds(server, "/sdapi/v1/progress?skip_current_image=true")
        pictured = milliseconds(server, "/sdapi/v1/progress")
        assert server.get("/sdapi/v1/progress")["progress"] > 0, "the job ended too early"
        server.post("/sdapi/v1/interrupt", {})
        job.join()
    finally:
        server.stop()
    sys.stdout.write(
        f"\nfirst /internal/ping after {up:.2f} s, first picture after {first:.2f} s\n\n"
        "| GET /sdapi/v1/progress | median ms | 95 % ms | worst ms |\n|---|---|---|---|\n"
        + row("idle", idle)
        + row("painting, no picture", bare)
        + row("painting, with preview", pictured)
    )
