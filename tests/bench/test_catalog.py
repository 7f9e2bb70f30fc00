"""What it costs to know the models of a large folder.

`pytest -m bench tests/bench/test_catalog.py -s` prints the tables of docs/performance.md. The
files are sparse: headers of an SD1 checkpoint's size, and tensors that take no room.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from models import folders
from models.catalog import Catalog
from models.hashing import HashCache, passing_sha256, sha256
from models.networks.files import NetworkCatalog
from server.app import create_app
from server.settings import parse

pytestmark = pytest.mark.bench

MODELS = 1000
FOLDERS = 20
TENSORS = 1131
PIECE = 64 << 20
LARGE_BYTES = 2 << 30
OPENSSL = "openssl dgst -sha256"
ROUNDS = 3

Timings = Sequence[tuple[float, float]]


def header(count: int, metadata: dict[str, str]) -> bytes:
    """The header of a file of `count` tensors, with names as long as true ones."""
    entries: dict[str, object] = {"__metadata__": metadata}
    for number in range(count):
        name = f"model.diffusion_model.input_blocks.{number}.transformer_blocks.0.attn1.to_q.weight"
        offsets = [number * 2048, number * 2048 + 2048]
        entries[name] = {"dtype": "F16", "shape": [32, 32], "data_offsets": offsets}
    return json.dumps(entries).encode()


def fill(folder: Path, count: int, text: bytes, tensors: int) -> None:
    """Write `count` sparse files, spread over subfolders."""
    for number in range(count):
        path = folder / f"folder{number % FOLDERS}" / f"model{number}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(8 + len(text) + tensors * 2048)


def milliseconds(work: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds by the clock, and of this process's own time."""
    start, own = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - start) * 1000, (time.process_time() - own) * 1000


def best(work: Callable[[], object]) -> tuple[float, float]:
    return min(milliseconds(work) for _ in range(ROUNDS))


def row(name: str, *columns: tuple[float, float]) -> str:
    cells = " | ".join(f"{clock:.1f} ({own:.1f})" for clock, own in columns)
    return f"| {name} | {cells} |\n"


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders made a moment ago count as old ones."""
    monkeypatch.setattr(folders, "_UNSETTLED_NS", -(10**18))


def listed(made: Catalog | NetworkCatalog) -> Sequence[object]:
    return made.checkpoints() if isinstance(made, Catalog) else made.networks()


def measured(make: Callable[[], Catalog | NetworkCatalog], folder: Path) -> str:
    """A row about one kind of files."""
    first = milliseconds(lambda: listed(make()))
    again = make()
    later = milliseconds(lambda: listed(again))
    warm = best(lambda: listed(again))
    found = best(lambda: again.find("model500"))
    shutil.copy(folder / "folder7" / "model7.safetensors", folder / "folder7" / "new.safetensors")
    changed = milliseconds(lambda: listed(again))
    scanned = best(again.scan)
    assert len(listed(again)) == MODELS + 1
    return row(folder.name, first, later, warm, found, changed, scanned)


def test_looking_at_a_thousand_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)
    models, loras = tmp_path / "models" / "Stable-diffusion", tmp_path / "models" / "Lora"
    fill(models, MODELS, header(TENSORS, {}), TENSORS)
    fill(loras, MODELS, header(264, {"ss_output_name": "x", "ss_tag_frequency": "t" * 20_000}), 264)
    database = tmp_path / "hashes.sqlite3"

    def checkpoints() -> Catalog:
        return Catalog(
            [models],
            explicit=None,
            hashes=HashCache(database),
            hashing=True,
            allow_pickle=False,
            demo=Path("/absent"),
        )

    def networks() -> NetworkCatalog:
        return NetworkCatalog([loras], hashes=HashCache(database), hashing=True, allow_pickle=False)

    rows = ""
    for make, folder in ((checkpoints, models), (networks, loras)):
        rows += measured(make, folder)
    sys.stdout.write(
        f"\n{MODELS} files in {FOLDERS} folders, milliseconds (of them the CPU's)\n\n"
        "| | first run | next run | warm | one look-up | warm, one new file | every file again |\n"
        "|---|---|---|---|---|---|---|\n" + rows
    )


def test_listing_a_thousand_models_on_the_wire(tmp_path: Path) -> None:
    fill(tmp_path / "models" / "Stable-diffusion", MODELS, header(TENSORS, {}), TENSORS)
    flags = ["--data-dir", str(tmp_path), "--skip-load-model-at-start", "--use-cpu", "all"]
    app = create_app(parse([*flags, "--no-background-hashing"]))
    with TestClient(app) as client:
        taken, own = best(lambda: client.get("/sdapi/v1/sd-models").raise_for_status())
        assert len(client.get("/sdapi/v1/sd-models").json()) == MODELS
    sys.stdout.write(f"\nGET /sdapi/v1/sd-models of {MODELS}: {taken:.1f} ms ({own:.1f})\n")


def hashed(path: Path, openssl: str, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Milliseconds of each way to have a file's sha256, in turns: by the clock, and the CPU's."""
    command = [openssl, "dgst", "-sha256", "-r", str(path)]

    def theirs() -> tuple[float, float]:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        clock, _ = milliseconds(lambda: subprocess.run(command, capture_output=True, check=True))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return clock, own * 1000

    ways: dict[str, Callable[[], tuple[float, float]]] = {
        OPENSSL: theirs,
        "ours": lambda: milliseconds(lambda: sha256(path)),
        "ours, in the background": lambda: milliseconds(
            lambda: passing_sha256(path, lambda count: None)
        ),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(way())
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.split()[0] == sha256(path)
    return taken


def write_large(path: Path, size: int = LARGE_BYTES) -> None:
    """A file of so many random bytes, a multiple of 64 MiB."""
    piece = os.urandom(PIECE)
    with path.open("wb") as file:
        for _ in range(size // len(piece)):
            file.write(piece)


def test_hashing_against_openssl(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to compare with")
    path = tmp_path / "large.safetensors"
    write_large(path)
    taken = hashed(path, openssl, ROUNDS)
    path.unlink()
    rows = "".join(_compared(name, taken[OPENSSL], each) for name, each in taken.items())
    sys.stdout.write(
        f"\n{LARGE_BYTES >> 20} MiB, best of {ROUNDS}\n\n"
        "| | MB/s | of openssl | MB per CPU second | of openssl |\n|---|---|---|---|---|\n" + rows
    )


def _compared(name: str, theirs: Timings, taken: Timings) -> str:
    """A row: speed by the clock and by the CPU, and how much of openssl's that is."""
    columns = ""
    for kind in (0, 1):
        reference, own = min(each[kind] for each in theirs), min(each[kind] for each in taken)
        columns += f" {LARGE_BYTES / 1000 / own:.0f} | {reference / own:.2f} |"
    return f"| {name} |{columns}\n"
