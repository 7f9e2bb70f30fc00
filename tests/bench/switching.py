"""Checkpoints: what loading, hashing and switching take, in the process and over HTTP."""

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.choice import ModelChoice
from models.memory import settle
from tests.bench.full_size import write_full_size
from tests.bench.painting import paint
from tests.bench.report import Row, Table, note, ratios, told
from tests.bench.servers import Bench, Site, served, site_of
from tests.bench.test_catalog import LARGE_BYTES, OPENSSL, PIECE, hashed, write_large
from tests.bench.test_swap import lender_of_two, measured, switched
from tests.models import soaking

#: ours, and what needs the same weights in memory
LOADS: Mapping[str, tuple[str, str]] = {
    "load as stored / safetensors' and a copy": ("as_stored", "mapped_and_copied"),
    "load as stored / the bytes read by one read": ("as_stored", "plainly"),
    "load to float32 / safetensors' to float32": ("as_float32", "mapped_to_float32"),
}
HASHES: Mapping[str, str] = {
    "sha256 at a load / openssl": "ours",
    "sha256 in the background / openssl": "ours, in the background",
}
LIMITS: Mapping[int, str] = {1: "each loads (the default)", 2: "both stay loaded"}
COLUMNS = ("", "ours", "the other", "ours / the other", "ours - the other")
NOTES = (
    "Loads: a process each, the file in the page cache; of a tiny file it is the building of the"
    " modules that is seen, not the reading. Over HTTP: pictures of one step by two"
    " checkpoints that share no part, named by each request in turn, against as many by one.",
    "The switch is measured where both are loaded; no byte is copied on a CPU. In the background a"
    " file is hashed with the least priority and with pauses.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """A folder with two checkpoints that share no part."""

    folder: Path
    names: tuple[str, str]

    @property
    def first(self) -> Path:
        """The one that is loaded alone."""
        return self.folder / self.names[0]


def files(bench: Bench) -> Files:
    """Write them: tiny ones, or of SD1.5's true size."""
    folder = bench.folder / "switch"
    if bench.is_tiny:
        soaking.write(folder)
        return Files(folder=folder, names=("m0.safetensors", "m2.safetensors"))
    folder.mkdir()
    made = Files(folder=folder, names=("a.safetensors", "b.safetensors"))
    for name in made.names:
        note(f"writing {name} of SD1.5's true size")
        write_full_size(folder / name, seed=ord(name[0]))
    return made


def compared(name: str, ours: Sequence[float], other: Sequence[float], unit: str) -> Row:
    """A line of two things in seconds, shown in `unit`."""
    scale = {"s": 1.0, "ms": 1000.0}[unit]
    own, theirs = ([each * scale for each in taken] for taken in (ours, other))
    ratio = ratios(ours, other)
    added = [a - b for a, b in zip(own, theirs, strict=True)]
    digits = 2 if unit == "s" else 1
    shown = (f"{told(each, digits)} {unit}" for each in (own, theirs))
    return Row(
        cells=(name, *shown, told(ratio), f"{told(added, digits)} {unit}"),
        measured={"ours_s": tuple(ours), "other_s": tuple(other), "ratio": ratio},
    )


def loads(path: Path, turns: int) -> list[Row]:
    """Loads against safetensors' and against a plain read."""
    note(f"switch: loads, {turns} turns")
    taken = measured(path, turns)
    return [
        compared(name, taken[ours].seconds, taken[other].seconds, "s")
        for name, (ours, other) in LOADS.items()
        if ours in taken
    ]


def hashes(folder: Path, size: int, turns: int) -> list[Row]:
    """Hashing against openssl; no rows where there is none."""
    openssl = shutil.which("openssl")
    if openssl is None:
        note("switch: no openssl to compare with")
        return []
    note(f"switch: hashes, {turns} turns")
    path = folder / "large.bin"
    write_large(path, size)
    taken = {
        name: [clock / 1000 for clock, _ in each]
        for name, each in hashed(path, openssl, turns).items()
    }
    path.unlink()
    return [compared(name, taken[ours], taken[OPENSSL], "s") for name, ours in HASHES.items()]


def resident(found: Files, turns: int) -> Row:
    """Switches in this process between two that are loaded."""
    note(f"switch: {turns} switches in the process")
    catalog = soaking.library(found.folder)
    lender = lender_of_two(catalog)
    infos = {each.path.name: each for each in catalog.checkpoints.checkpoints()}
    choices = [ModelChoice(checkpoint=infos[name]) for name in found.names]
    settle()
    # the log has no place in what this command prints
    with redirect_stdout(sys.stderr):
        # both are read by the first two
        taken = switched(lender, choices, turns + 2)[2:]
        lender.unload()
    shown = f"{told([each * 1000 for each in taken])} ms"
    name = "switch between two that are loaded"
    return Row(cells=(name, shown, "-", "-", "-"), measured={"ours_s": tuple(taken)})


def over_http(site: Site, found: Files, limit: int, pairs: int, pictures: int) -> Row:
    """Pictures by two checkpoints in turn against as many by one."""
    site.post("/sdapi/v1/options", {"sd_checkpoints_limit": limit})
    body: dict[str, Any] = {"prompt": "1 girl", "seed": 1, "steps": 1, "width": 64, "height": 64}
    bodies = [body | {"override_settings": {"sd_model_checkpoint": each}} for each in found.names]
    staying = bodies[:1] * pictures
    # it ends where it began, so that each of the pictures is by another than that before
    turning = [bodies[(number + 1) % 2] for number in range(pictures)]
    paint(site, turning, 1)
    ours, other = [], []
    for pair in range(pairs):
        note(f"switch: over HTTP, limit {limit}, pair {pair + 1} of {pairs}")
        other.append(paint(site, staying, 1).seconds / pictures)
        ours.append(paint(site, turning, 1).seconds / pictures)
    name = f"over HTTP, {LIMITS[limit]}: a picture in turn / by one"
    return compared(name, ours, other, "ms")


def add_options(parser: argparse.ArgumentParser) -> None:
    """What this table alone is told: nothing yet."""


def measure(bench: Bench, asked: argparse.Namespace) -> Sequence[Table]:
    """Loads, hashes and switches."""
    found = files(bench)
    pairs = bench.pairs or (2 if bench.quick else 5)
    pictures = 2 if bench.quick or not bench.is_tiny else 10
    size = PIECE if bench.quick else LARGE_BYTES
    loaded = bench.checkpoint or found.first
    rows = [*loads(loaded, pairs), *hashes(bench.folder, size, pairs), resident(found, 10)]
    with served(bench, "switch", f"--ckpt-dir {found.folder}", found.first) as server:
        site = site_of(server)
        known = {each["filename"] for each in json.loads(site.get("/sdapi/v1/sd-models"))}
        assert {str(found.folder / name) for name in found.names} <= known
        rows += [over_http(site, found, limit, pairs, pictures) for limit in LIMITS]
    title = (
        f"Loads and switches: {loaded.stat().st_size / 1e9:.2f} GB a file, hash of {size >> 20} MiB"
    )
    return (Table(title=title, columns=COLUMNS, rows=tuple(rows), notes=NOTES),)
