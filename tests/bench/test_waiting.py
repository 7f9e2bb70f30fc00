"""What a poll costs while many jobs wait: `pytest -m bench tests/bench/test_waiting.py -s`."""

import statistics
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.launched import Launched, until

pytestmark = pytest.mark.bench

T2I = "/sdapi/v1/txt2img?wait=false"
PAINTING = {"steps": 1000, "n_iter": 100, "width": 128, "height": 128, "seed": 1}
OTHER = {"override_settings": {"sd_model_checkpoint": "tiny-vpred.safetensors"}}
ASKED, WAITING = 100, 1000


def taken(server: Launched, name: str) -> str:
    """The milliseconds of polls, as cells of a table."""

    def whole() -> object:
        return server.get("/sdapi/v1/progress?skip_current_image=true")

    def one() -> object:
        return server.post("/internal/progress", {"id_task": name, "live_preview": False})

    cells: list[float] = []
    for call in (whole, one):
        times = []
        for _ in range(ASKED):
            start = time.perf_counter()
            call()
            times.append((time.perf_counter() - start) * 1000)
        times.sort()
        cells += [statistics.median(times), times[int(ASKED * 0.95)]]
    return " | ".join(f"{cell:.1f}" for cell in cells)


def test_polls_while_many_wait(reference_models: Path, tmp_path: Path) -> None:
    checkpoint = reference_models / "Stable-diffusion" / "tiny-sd15.safetensors"
    server = Launched(
        tmp_path / "log",
        *("--data-dir", str(tmp_path / "data"), "--models-dir", str(reference_models)),
        *("--ckpt", str(checkpoint), "--use-cpu", "all", "--max-queue", str(WAITING + 1)),
    )
    try:
        server.post(T2I, PAINTING)
        until(lambda: server.get("/sdapi/v1/progress")["state"]["sampling_step"] > 0)
        rows = []
        for number in range(WAITING):
            body = PAINTING | OTHER | {"force_task_id": f"task({number})"}
            server.post(T2I, body)
            if number + 1 in (1, WAITING):
                until(lambda n=number: server.get("/internal/pending-tasks")["size"] == n + 1)  # type: ignore[misc]
                rows.append(f"| {number + 1} | {taken(server, f'task({number})')} |\n")
    finally:
        server.process.kill()
        server.process.wait()
    sys.stdout.write(
        "\n| waiting | /progress, median ms | 95 % | /internal/progress of the last | 95 % |\n"
        "|---|---|---|---|---|\n" + "".join(rows)
    )
