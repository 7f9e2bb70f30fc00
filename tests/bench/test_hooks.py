"""What extensions cost the steps of others: `pytest -m bench tests/bench/test_hooks.py -s`.

One client paints; meanwhile another has six faces swapped, or backgrounds taken away, without a
pause. The steps of the painting job are timed alone and beside, in turns, on one server. What a
process of its own costs that keeps one core busy is told too: so much is the machine's.
"""

import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.launched import Launched
from tests.e2e.workload import base64_of, half_red, models_folder, write_cutter

photographs = pytest.importorskip("tests.models.faces.photographs")
standins = pytest.importorskip("tests.models.faces.standins")

pytestmark = pytest.mark.bench

PAIRS, STEPS = 3, 60
PAINTING = {"prompt": "1 girl", "steps": STEPS, "width": 128, "height": 128, "seed": 1}
#: of the model that takes away backgrounds: a second of one core, some 5 GFLOP
ROUNDS = 20
SIX = "0,1,2,3,4,5"


class Traced:
    """A server whose steps are written down."""

    def __init__(self, folder: Path, models: Path) -> None:
        self._file = folder / "trace"
        self._read = 0
        checkpoint = models / "Stable-diffusion" / "tiny-sd15.safetensors"
        self.server = Launched(
            folder / "log",
            *("--data-dir", str(folder / "data"), "--models-dir", str(models)),
            *("--ckpt", str(checkpoint), "--use-cpu", "all"),
            program=("tests.bench.traced", str(self._file)),
        )

    def steps(self) -> list[float]:
        """Milliseconds from step to step of the job with most steps since it was asked last."""
        lines = self._file.read_text().splitlines()
        ends = defaultdict(list)
        for line in lines[self._read :]:
            job, end = line.split()
            ends[job].append(int(end))
        self._read = len(lines)
        longest = max(ends.values(), key=len)
        assert len(longest) == STEPS
        return [(later - sooner) / 1e6 for sooner, later in pairwise(longest)]


@pytest.fixture(scope="module")
def traced(reference_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    folder = tmp_path_factory.mktemp("hooks")
    models = models_folder(folder / "models", reference_models)
    standins.write_faces(models)
    write_cutter(models / "u2net" / "u2netp.onnx", rounds=ROUNDS)
    running = Traced(folder, models)
    yield running
    running.server.process.kill()
    running.server.process.wait()


class Beside:
    """A client that asks for one thing again and again until it is told to stop."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        self._ask, self._stop, self._pool = ask, threading.Event(), ThreadPoolExecutor(1)
        self._work = self._pool.submit(self._ask_on)

    def _ask_on(self) -> list[float]:
        taken = []
        while not self._stop.is_set():
            start = time.perf_counter()
            self._ask()
            taken.append(time.perf_counter() - start)
        return taken

    def end(self) -> list[float]:
        """The seconds that each answer took."""
        self._stop.set()
        with self._pool:
            return self._work.result()


def test_steps_beside_hooks(traced: Traced) -> None:
    rows = [row("a process that keeps a core busy", traced, keep_a_core_busy)]
    for name, (path, body) in kinds().items():
        ask = partial(traced.server.post, path, body)
        ask()
        rows.append(row(name, traced, ask))
    sys.stdout.write(
        "\n| beside the painting job | answers, of ms | a step alone, ms: median, 95 %, worst "
        "| beside: median, 95 %, worst | beside / alone: median of the pairs, least to most |\n"
        "|---|---|---|---|---|\n" + "".join(rows)
    )


def keep_a_core_busy() -> None:
    """For a second, from outside the server."""
    busy = "import time\nend = time.time() + 1\nwhile time.time() < end: pass"
    subprocess.run([sys.executable, "-S", "-c", busy], check=True)


def kinds() -> dict[str, tuple[str, dict[str, Any]]]:
    """What is asked for beside the painting job: path and body."""
    group, portrait = base64_of(photographs.group(), "JPEG"), base64_of(photographs.portrait())
    # model, restorer, its visibility, upscaler, scale, visibility, in the init picture alone
    roop = [portrait, True, SIX, None, "None", 1, None, 1, 1, True, False]
    job = {"init_images": [group], "steps": 1, "denoising_strength": 1.0, "width": 64, "height": 64}
    swap = {"source_image": portrait, "target_image": group, "face_index": SIX}
    cut = {"input_image": base64_of(half_red(300)), "model": "u2netp"}
    return {
        "six faces swapped, by the route": ("/roop/image", swap),
        "six faces swapped, by a job's hook": (
            "/sdapi/v1/img2img",
            job | {"alwayson_scripts": {"roop": {"args": roop}}},
        ),
        "a background taken away": ("/rembg", cut),
    }


def row(name: str, traced: Traced, ask: Callable[[], Any]) -> str:
    """The steps alone and beside what is asked, in turns."""
    server = traced.server
    server.post("/sdapi/v1/txt2img", PAINTING)
    traced.steps()
    alone, beside, ratios, taken = [], [], [], []
    for _ in range(PAIRS):
        server.post("/sdapi/v1/txt2img", PAINTING)
        alone += (first := traced.steps())
        other = Beside(ask)
        server.post("/sdapi/v1/txt2img", PAINTING)
        taken += other.end()
        beside += (second := traced.steps())
        ratios.append(statistics.median(second) / statistics.median(first))
    ratios.sort()
    told = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    each = statistics.median(taken) * 1000
    return (
        f"| {name} | {len(taken)} of {each:.0f} | {spread(alone)} | {spread(beside)} | {told} |\n"
    )


def spread(times: list[float]) -> str:
    times = sorted(times)
    return f"{statistics.median(times):.1f}, {times[int(len(times) * 0.95)]:.1f}, {times[-1]:.1f}"
