"""Throughput against the number of clients: ours, ours under other flags, another server."""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from tests.bench.painting import Body, Painted, mixed, paint
from tests.bench.processes import cpu_seconds
from tests.bench.report import Row, Table, note, percentile, ratios, told
from tests.bench.servers import Bench, Site, served, site_of

COUNTS = (1, 2, 4, 8, 16)
SIDE = 64
UNBATCHED = "--batching off"
#: by which a turn is longer than the last pictures of its clients, when some have none left
ROUNDS, LEAST_PICTURES = 3, 12
TARGET = 3.0
OURS = "ours"
RATE, WAITS, BY_CPU = "pictures/s", "waits, s", "pictures a second of the CPU"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What this table alone is told."""
    parser.add_argument(
        "--counts", type=_counts, help="numbers of clients, as 1,2,4 (clients)", metavar="N,N"
    )
    parser.add_argument("--pictures", type=int, help="pictures of a turn (clients)")
    parser.add_argument(
        "--url",
        action="append",
        default=[],
        help="another server of the same API, as http://[user:password@]host:port (clients)",
    )
    parser.add_argument(
        "--against",
        default=UNBATCHED,
        help=f"flags of the server of ours compared with, '' for none ({UNBATCHED}) (clients)",
        metavar="FLAGS",
    )


def _counts(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in text.split(","))


@dataclass(frozen=True, slots=True)
class Arm:
    """A server that is measured; of one that is not ours the process is not known."""

    site: Site
    process: int | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """What clients got in a turn, and the seconds of the CPU that it took the server."""

    painted: Painted
    cpu: float | None

    @property
    def cpu_rate(self) -> float | None:
        """Pictures a second of the CPU."""
        return len(self.painted.each) / self.cpu if self.cpu else None


def turn(arm: Arm, bodies: Sequence[Body], count: int) -> Turn:
    """Have all of `bodies` painted, `count` at a time."""
    if arm.process is None:
        return Turn(paint(arm.site, bodies, count), None)
    before = cpu_seconds(arm.process)
    painted = paint(arm.site, bodies, count)
    return Turn(painted, cpu_seconds(arm.process) - before)


def turns(
    arms: Mapping[str, Arm], count: int, bench: Bench, pictures: int | None
) -> dict[str, list[Turn]]:
    """The same pictures from each server in turn, `count` of them wanted at a time."""
    pairs = bench.pairs or (2 if bench.quick else 3)
    many = pictures or (count if bench.quick else max(ROUNDS * count, LEAST_PICTURES))
    bodies = mixed(many, bench.side or SIDE, bench.steps or (2 if bench.quick else None))
    taken: dict[str, list[Turn]] = {name: [] for name in arms}
    for arm in arms.values():
        # the first of each number of rows is slower
        turn(arm, bodies[:count], count)
    for pair in range(pairs):
        note(f"clients: {count}, pair {pair + 1} of {pairs}")
        for name, arm in arms.items():
            taken[name].append(turn(arm, bodies, count))
    return taken


def row(count: int, taken: Mapping[str, Sequence[Turn]]) -> Row:
    """A line: each server's pictures a second and waits, and ours of each other's."""
    cells = [f"{count}"]
    measured: dict[str, tuple[float, ...]] = {}
    for name, each in taken.items():
        rates = tuple(turn.painted.rate for turn in each)
        waits = tuple(wait for turn in each for wait in turn.painted.each)
        by_cpu = tuple(turn.cpu_rate for turn in each if turn.cpu_rate is not None)
        measured |= {f"{name}: {RATE}": rates, f"{name}: {WAITS}": waits}
        measured |= {f"{name}: {BY_CPU}": by_cpu} if by_cpu else {}
        cells += [told(rates), f"{statistics.median(waits):.2f}, {percentile(waits, 0.95):.2f}"]
        if name != OURS:
            measured[f"{OURS} / {name}"] = ratio = ratios(measured[f"{OURS}: {RATE}"], rates)
            cells.append(told(ratio))
        if name != OURS and by_cpu:
            ratio = ratios(measured[f"{OURS}: {BY_CPU}"], by_cpu)
            measured[f"{OURS} / {name}: {BY_CPU}"] = ratio
            cells.append(told(ratio))
    return Row(cells=tuple(cells), measured=measured)


def columns(arms: Mapping[str, Arm]) -> tuple[str, ...]:
    """The head of the table."""
    found = ["clients"]
    for name, arm in arms.items():
        found += [f"{name}: {RATE}", "50 %, 95 % of waits, s"]
        if name != OURS:
            found.append(f"{OURS} / {name}")
        if name != OURS and arm.process is not None:
            found.append("the same by CPU time")
    return tuple(found)


def measure(bench: Bench, asked: argparse.Namespace) -> Sequence[Table]:
    """Pictures a second for each number of clients."""
    counts = asked.counts or (COUNTS[:2] if bench.quick else COUNTS)
    kinds = {OURS: ""} | ({f"ours, {asked.against}": asked.against} if asked.against else {})
    with ExitStack() as stack:
        arms: dict[str, Arm] = {}
        for name, flags in kinds.items():
            server = stack.enter_context(served(bench, f"clients{len(arms)}", flags))
            arms[name] = Arm(site_of(server), server.process.pid)
        # an account in its address is nobody's to read
        arms |= {url.rpartition("@")[2]: Arm(Site(url)) for url in asked.url}
        rows = [row(count, turns(arms, count, bench, asked.pictures)) for count in counts]
    side = bench.side or SIDE
    notes = (
        f"{side}x{side}; samplers, steps, seeds, prompts and scales mixed; the same"
        " requests go to each server in turn, all are warm. A client asks when it has its last"
        " picture.",
        f"Aimed at: at least {TARGET:.0f} for 8 clients at 64x64, the tiny SD1.5, on a CPU.",
    )
    return (Table(title="Clients", columns=columns(arms), rows=tuple(rows), notes=notes),)
