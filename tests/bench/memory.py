"""What pictures take of memory: at rest, at most, after many, and each of those in flight."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.bench.painting import mixed, paint
from tests.bench.processes import forget_peak, held, peak
from tests.bench.report import Row, Table, note, told
from tests.bench.servers import Bench, Site, served, site_of
from tests.e2e.launched import Launched

SIDES = (256, 512)
STEPS = 4
MANY, TOGETHER = 20, 8
MB = 1e6
GPU = ("allocated", "reserved")
NOTES = (
    "Of the server's process, a new server for each line of pictures. Peak: the most at once while"
    " they were painted; `over` what there was after a first small picture, which is what every"
    " server holds. How many of the clients' pictures share a forward is the server's choice. A"
    " GPU's peaks are since the server's start.",
)


@dataclass(slots=True)
class Line:
    """What was found at one place of each run, in MB."""

    held: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)
    over: list[float] = field(default_factory=list)
    each: list[float] = field(default_factory=list)
    gpu: dict[str, list[float]] = field(default_factory=dict)

    def row(self, name: str, gpu: Sequence[str]) -> Row:
        """As a line of the table."""
        measured = {"held": self.held, "peak": self.peak, "over": self.over, "each": self.each}
        measured |= {name: self.gpu.get(name, []) for name in gpu}
        return Row(
            cells=(name, *(told(values, 0) for values in measured.values())),
            measured={name: tuple(values) for name, values in measured.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What is painted by a server of its own: so many pictures for so many clients."""

    name: str
    side: int
    pictures: int = 1
    clients: int = 1


def places(sides: Sequence[int]) -> list[Place]:
    """One picture of each side; many, and many at once, of the first."""
    side, both = sides[0], 2 * TOGETHER
    return [
        *(Place(name=f"one picture, {each}x{each}", side=each) for each in sides),
        Place(name=f"{MANY} pictures one by one, {side}x{side}", side=side, pictures=MANY),
        Place(
            name=f"{both} pictures for {TOGETHER} clients, {side}x{side}",
            side=side,
            pictures=both,
            clients=TOGETHER,
        ),
    ]


def visit(server: Launched, place: Place, steps: int, lines: dict[str, Line]) -> None:
    """Add to `lines` what a new server holds at rest, and at most while `place` is painted."""
    process, site = server.process.pid, site_of(server)

    def look(name: str) -> Line:
        line = lines.setdefault(name, Line())
        line.held.append(held(process) / MB)
        for kind, count in on_gpu(site).items():
            line.gpu.setdefault(kind, []).append(count / MB)
        return line

    look("loaded, nothing painted")
    paint(site, mixed(1, 64, 1), 1)
    first = look("after a first picture, 64x64")
    forget_peak(process)
    paint(site, mixed(place.pictures, place.side, steps), place.clients)
    line = look(place.name)
    line.peak.append(peak(process) / MB)
    line.over.append(line.peak[-1] - first.held[-1])
    line.each.append(line.over[-1] / place.clients)


def on_gpu(site: Site) -> dict[str, int]:
    """Bytes of a GPU now and at most, as `/sdapi/v1/memory` tells them; nothing without one."""
    told_ = json.loads(site.get("/sdapi/v1/memory"))["cuda"]
    return {
        f"GPU {name}, {kind}": told_[name][kind]
        for name in GPU
        if name in told_
        for kind in ("current", "peak")
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """What this table alone is told."""
    parser.add_argument("--runs", type=int, help="servers that are started for it (memory)")


def measure(bench: Bench, asked: argparse.Namespace) -> Sequence[Table]:
    """Memory of the process and of the GPU."""
    runs = asked.runs or (1 if bench.quick else 3)
    steps = bench.steps or (2 if bench.quick else STEPS)
    sides = (bench.side,) if bench.side else SIDES
    lines: dict[str, Line] = {}
    for run in range(runs):
        for place in places(sides):
            note(f"memory: run {run + 1} of {runs}, {place.name}")
            with served(
                bench, f"memory{run}-{place.clients}-{place.pictures}-{place.side}"
            ) as server:
                visit(server, place, steps, lines)
    gpu = next(iter(lines.values())).gpu
    columns = ("MB", "held after", "peak", "over", "over, of each in flight", *gpu)
    rows = tuple(line.row(name, tuple(gpu)) for name, line in lines.items())
    return (Table(title="Memory", columns=columns, rows=rows, notes=NOTES),)
