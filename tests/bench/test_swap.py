"""Loads, switches and what they leave in memory: `pytest -m bench tests/bench/test_swap.py -s`.

Some 20 minutes on two cores, 9 GB of disk and 16 of memory, one file after the other. Ratios are of
medians of ways taken by turns, each in a process of its own with the file in the page cache. The
tables in docs/performance.md are what it prints.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import torch

from models.choice import ModelChoice
from models.embeddings.shelf import EmbeddingShelf
from models.families.filling import block
from models.library import Library
from models.manager import CheckpointManager
from models.memory import settle
from models.offload import copied
from models.precision import Formats, Precision
from models.residence import Keeping
from tests.bench.full_size import write_full_size
from tests.models.soaking import library

pytestmark = pytest.mark.bench

TURNS = 3
SWITCHES, SETTLED = 500, 20
WAYS = ("as_stored", "mapped", "mapped_and_copied", "plainly", "as_float32", "mapped_to_float32")
GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Seconds of each turn, and the most memory over what was there before."""

    seconds: list[float]
    memory: int

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@pytest.fixture(params=["sd15", "sdxl"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / f"{request.param}.safetensors"
    write_full_size(path, model=request.param)
    yield path
    path.unlink()


def measured(path: Path, turns: int = TURNS) -> dict[str, Taken]:
    """Every way to load, by turns; float32 where it takes no more than 10 GB."""
    ways = WAYS if path.stat().st_size < 5 * GB else WAYS[:4]
    told: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(turns):
        for way, found in told.items():
            command = [sys.executable, "-m", "tests.bench.loading", way, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
    return {
        way: Taken(
            seconds=[each["seconds"] for each in found],
            memory=int(max(each["memory"] for each in found)),
        )
        for way, found in told.items()
    }


def table(title: str, rows: dict[str, Taken], size: int) -> str:
    lines = [
        f"| {way} | {taken.median:.2f} | {min(taken.seconds):.2f} to {max(taken.seconds):.2f}"
        f" | {taken.memory / GB:.2f} | {taken.memory / size:.2f} |"
        for way, taken in rows.items()
    ]
    head = f"| {title}, {size / GB:.2f} GB | s | least and most | peak, GB | of the file |"
    return "\n".join(["", head, "|---|---|---|---|---|", *lines, ""])


def test_loading(file: Path) -> None:
    rows = measured(file)
    size = file.stat().st_size
    ratios = {
        "a load, of safetensors' and its copy": ("as_stored", "mapped_and_copied"),
        "a load, of reading the bytes": ("as_stored", "plainly"),
        "a load to float32, of safetensors' to float32": ("as_float32", "mapped_to_float32"),
    }
    sys.stdout.write(table(file.stem, rows, size))
    for name, (ours, theirs) in ratios.items():
        if ours in rows:
            ratio = rows[ours].median / rows[theirs].median
            sys.stdout.write(f"{name}: {ratio:.2f}\n")
    assert rows["as_stored"].memory <= 1.15 * size


def timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    kept = action()
    seconds = time.perf_counter() - started
    del kept
    return seconds


def moving(module: torch.nn.Module) -> tuple[int, float, float]:
    """A part's bytes, the seconds that its move takes, and their ratio to a raw copy's."""
    tensors, cpu = list(module.state_dict().values()), torch.device("cpu")
    storage = tensors[0].untyped_storage()
    raw = torch.empty(0, dtype=torch.uint8).set_(storage)
    moves = [timed(lambda: copied(tensors, cpu)) for _ in range(5)]
    copies = [timed(lambda: block(storage.nbytes(), cpu).copy_(raw)) for _ in range(5)]
    seconds = statistics.median(moves)
    return storage.nbytes(), seconds, seconds / statistics.median(copies)


def lender_of_two(found: Library) -> CheckpointManager:
    """A manager that keeps two checkpoints in half precision."""
    return CheckpointManager(
        found,
        EmbeddingShelf(()),
        device=torch.device("cpu"),
        precision=Precision(formats=Formats.all(torch.float16)),
        keeping=lambda: Keeping(limit=2),
    )


def switched(lender: CheckpointManager, choices: Sequence[ModelChoice], turns: int) -> list[float]:
    """The seconds of each switch between two that are loaded."""
    taken = []
    for turn in range(turns):
        started = time.perf_counter()
        with lender.borrow(choices[turn % 2]):
            taken.append(time.perf_counter() - started)
    return taken


def test_switching(tmp_path: Path) -> None:
    """Two SD1.5 files in half precision, both loaded; and a move of one, as a GPU would have it."""
    for name in "ab":
        write_full_size(tmp_path / f"{name}.safetensors", seed=ord(name))
    settle()
    found = library(tmp_path)
    lender = lender_of_two(found)
    choices = [ModelChoice(checkpoint=each) for each in found.checkpoints.checkpoints()]
    process = psutil.Process()
    memory = [process.memory_info().rss]
    for choice in choices:
        with lender.borrow(choice):
            memory.append(process.memory_info().rss)
    switches = switched(lender, choices, 10)
    with lender.borrow(choices[1]) as checkpoint:
        size, seconds, ratio = moving(checkpoint.unet)
    del checkpoint
    lender.unload()
    memory.append(process.memory_info().rss)
    sys.stdout.write(
        "\nmemory before, with one, with both, unloaded, MB: "
        f"{', '.join(str(each // 10**6) for each in memory)}"
        f"\nswitch between two in RAM (no copy): {statistics.median(switches) * 1000:.1f} ms\n"
        f"move of a UNet of {size / GB:.2f} GB in RAM: {seconds:.3f} s, "
        f"{ratio:.2f} of a raw copy\n"
    )


def test_soaking(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.models.soaking", str(tmp_path), str(SWITCHES)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    memory = [int(line) for line in done.stdout.splitlines() if line.isdecimal()]
    after = {count: memory[count - 1] for count in (1, SETTLED, 50, 100, 200, SWITCHES)}
    for count, taken in after.items():
        sys.stdout.write(f"\nafter {count} switches: {taken / 1e6:.1f} MB")
    ratio = after[SWITCHES] / after[SETTLED]
    sys.stdout.write(f"\nlast, of the {SETTLED}th: {ratio:.3f}\n")
    assert ratio <= 1.02
