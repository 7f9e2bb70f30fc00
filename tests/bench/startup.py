"""How soon the server answers, how soon it answers while it paints, and what previews cost."""

import argparse
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from tests.bench.painting import Crowd, mixed, seconds
from tests.bench.processes import cpu_seconds
from tests.bench.report import Row, Table, note, percentile, ratios, told
from tests.bench.servers import PROGRESS, T2I, Bench, Site, launch, served, site_of
from tests.e2e.launched import Launched, until

BARE = f"{PROGRESS}?skip_current_image=true"
CROWDS = (0, 1, 16)
SIDE = 128
POLLERS: Mapping[str, str | None] = {"nobody": None, "no previews": BARE, "previews": PROGRESS}
PAUSE_S = 0.02
POLL_S = 1.0
FIRST_S, WORST_MS, PREVIEWS = 3.0, 50, 0.01
SHARES: Mapping[str, float] = {"50 %": 0.5, "95 %": 0.95, "99 %": 0.99, "worst": 1.0}
ONE = {"prompt": "1 girl", "steps": 1, "width": 64, "height": 64, "seed": 1}


def add_options(parser: argparse.ArgumentParser) -> None:
    """What this table alone is told."""
    parser.add_argument("--starts", type=int, help="starts of a server (startup)")
    parser.add_argument("--polls", type=int, help="polls of each kind (startup)")


def starts(bench: Bench, count: int) -> Table:
    """From the start of a process to its first answers; looked for every 50 ms."""
    up: list[float] = []
    first: list[float] = []
    for number in range(count):
        note(f"startup: start {number + 1} of {count}")
        start = time.perf_counter()
        server = launch(bench, f"start{number}")
        try:
            up.append(time.perf_counter() - start)
            site_of(server).post(T2I, ONE)
            first.append(time.perf_counter() - start)
        finally:
            server.process.kill()
            server.process.wait()
    rows = [
        Row(cells=(name, told(taken)), measured={"s": tuple(taken)})
        for name, taken in (("first answer to /internal/ping", up), ("first picture", first))
    ]
    notes = (f"Aimed at: the first answer within {FIRST_S:.0f} s.",)
    return Table(title="Start-up", columns=("", "s"), rows=tuple(rows), notes=notes)


def polled(site: Site, path: str, count: int) -> list[float]:
    """Milliseconds that each of so many polls takes, a new connection for each."""
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        site.get(path)
        taken.append((time.perf_counter() - start) * 1000)
        time.sleep(PAUSE_S)
    return taken


def latency(site: Site, bench: Bench, polls: int) -> Table:
    """Polls while nobody paints, and while one and many do, with the preview and without."""
    side = bench.side or SIDE
    bodies = mixed(max(CROWDS), side, bench.steps)
    rows = []
    for crowd in CROWDS:
        note(f"startup: /progress beside {crowd} clients")
        with Crowd(site, bodies, crowd):
            if crowd:
                until(lambda: b'"sampling_step":0' not in site.get(BARE).replace(b" ", b""))
            kinds = {"with the preview": PROGRESS, "without": BARE} if crowd else {"idle": BARE}
            for kind, path in kinds.items():
                taken = polled(site, path, polls)
                name = f"{crowd} painting, {kind}" if crowd else kind
                shown = (f"{percentile(taken, share):.1f}" for share in SHARES.values())
                rows.append(Row(cells=(name, *shown), measured={"ms": tuple(taken)}))
    columns = ("ms", *SHARES)
    notes = (
        f"`{PROGRESS}`, {polls} polls of each kind, {side}x{side}; a new connection for each poll.",
        f"Aimed at: 99 % within {WORST_MS} ms beside 16 clients.",
    )
    return Table(title="Polls while others paint", columns=columns, rows=tuple(rows), notes=notes)


@contextmanager
def poller(site: Site, path: str | None) -> Iterator[None]:
    """Within it a client asks for `path` each second; for None nobody does."""
    over = threading.Event()

    def ask() -> None:
        while path is not None and not over.wait(POLL_S):
            site.get(path)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def steps_for(job: Callable[[int], float], wanted_s: float) -> int:
    """How many steps make a job last about so long."""
    few, more = job(2), job(12)
    return max(2, round(wanted_s / max((more - few) / 10, 1e-4)))


def previews(server: Launched, bench: Bench) -> Table:
    """One job's seconds beside a poller who sees previews, one who does not, and none."""
    side, site = bench.side or 2 * SIDE, site_of(server)
    body = ONE | {"width": side, "height": side, "sampler_name": "Euler a"}

    def job(steps: int) -> float:
        return seconds(site, body | {"steps": steps})

    wanted_s, pairs = (3.0, 2) if bench.quick else (10.0, 7)
    steps, pairs = bench.steps or steps_for(job, wanted_s), bench.pairs or pairs
    clock: dict[str, list[float]] = {name: [] for name in POLLERS}
    cpu: dict[str, list[float]] = {name: [] for name in POLLERS}
    for pair in range(pairs):
        note(f"startup: previews, pair {pair + 1} of {pairs}")
        for name, path in POLLERS.items():
            before = cpu_seconds(server.process.pid)
            with poller(site, path):
                clock[name].append(job(steps))
            cpu[name].append(cpu_seconds(server.process.pid) - before)
    rows = []
    for other, name in itertools.combinations(POLLERS, 2):
        measured = {
            "s": tuple(clock[name]),
            "other_s": tuple(clock[other]),
            "ratio": ratios(clock[name], clock[other]),
            "cpu_s": tuple(cpu[name]),
            "other_cpu_s": tuple(cpu[other]),
            "cpu_ratio": ratios(cpu[name], cpu[other]),
        }
        ratio, of_cpu = told(measured["ratio"], 3), told(measured["cpu_ratio"], 3)
        cells = (f"{name} / {other}", told(clock[name]), told(clock[other]), ratio, of_cpu)
        rows.append(Row(cells=cells, measured=measured))
    notes = (
        f"{side}x{side}, {steps} steps, Euler a; a poll each {POLL_S:.0f} s, settings by default."
        " The CPU's time is that of the server, answers to the polls included.",
        f"Aimed at: previews / no previews at most {1 + PREVIEWS:.2f}.",
    )
    columns = ("a job beside a poller", "s", "s of the other", "ratio", "ratio, CPU time")
    return Table(title="The price of previews", columns=columns, rows=tuple(rows), notes=notes)


def measure(bench: Bench, asked: argparse.Namespace) -> Sequence[Table]:
    """Starts, polls and previews."""
    count = asked.starts or (1 if bench.quick else 5)
    polls = asked.polls or (20 if bench.quick else 300)
    first = starts(bench, count)
    with served(bench, "startup") as server:
        site = site_of(server)
        site.post(T2I, ONE)
        return (first, latency(site, bench, polls), previews(server, bench))
