"""What the server adds to a picture: the same pictures over HTTP and by a bare loop, in pairs."""

import argparse
import base64
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.bench.painting import Body
from tests.bench.processes import cpu_seconds
from tests.bench.report import ROOT, Row, Table, note, ratios, told
from tests.bench.servers import T2I, Bench, Site, served, site_of
from tests.e2e.launched import Launched

Picture = NDArray[np.int16]
TARGET = 1.03
#: of 255; more than rounding, and the two are not the same work
ALIKE_LEVELS = 4
#: of what is measured, what is shown, with so many digits
SHOWN: Mapping[str, int] = {
    "http_s": 3,
    "bare_s": 3,
    "ratio": 3,
    "added_ms": 1,
    "cpu_ratio": 3,
    "added_cpu_ms": 1,
}
COLUMNS = (
    *("picture", "steps", "HTTP, s", "bare, s", "HTTP / bare", "added, ms"),
    *("HTTP / bare, CPU time", "added CPU, ms", "levels apart"),
)
NOTES = (
    "HTTP: one client, one picture after another, from the request to the last byte of the answer."
    " Bare: a process of its own, a loop over the same modules with the same threads and the same"
    " number format, from the prompts to the picture's bytes, no file format. Both are warm and"
    " take turns; the one whose turn it is not waits for its input. Of the CPU's time, what others"
    " do on the machine is no part.",
    f"Aimed at: at most {TARGET:.2f} at the true size of SD1.5, 512x512.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One row of the table: so many pictures a turn, of these sides and steps."""

    side: int
    steps: int
    pictures: int
    pairs: int

    def bodies(self) -> list[Body]:
        """The requests of a turn."""
        return [
            {
                "prompt": "a red fox in the snow, oil painting",
                "negative_prompt": "blurry, text",
                "sampler_name": "Euler",
                "steps": self.steps,
                "cfg_scale": 7.0,
                "seed": 1234 + number,
                "width": self.side,
                "height": self.side,
                "override_settings": {"randn_source": "CPU"},
            }
            for number in range(self.pictures)
        ]


class BareLoop:
    """The other process (`bare.py`)."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        """Speak to it by its input and output."""
        assert process.stdin is not None
        assert process.stdout is not None
        self.pid = process.pid
        self._to, self._from = process.stdin, process.stdout

    def paint(self, body: Body) -> tuple[float, Picture]:
        """The seconds that it took, and the picture."""
        self._to.write(json.dumps(body) + "\n")
        self._to.flush()
        line = self._from.readline()
        if not line:
            raise RuntimeError("the bare loop has ended; what it said is above")
        answer: dict[str, Any] = json.loads(line)
        levels = np.frombuffer(base64.b64decode(answer["pixels"]), np.uint8)
        return answer["seconds"], levels.reshape(answer["shape"]).astype(np.int16)


def over_http(site: Site, body: Body) -> tuple[float, Picture]:
    """The same of a server."""
    start = time.perf_counter()
    answer = site.post(T2I, body)
    seconds = time.perf_counter() - start
    data = base64.b64decode(json.loads(answer)["images"][0])
    with Image.open(io.BytesIO(data)) as image:
        return seconds, np.asarray(image.convert("RGB"), np.int16)


@contextmanager
def bare_loop(bench: Bench) -> Iterator[BareLoop]:
    """A bare loop with the checkpoint, and as many threads as the servers have."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.bare", str(bench.model()), bench.device],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": str(bench.threads)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield BareLoop(process)
    finally:
        process.kill()
        process.wait()


def add_options(parser: argparse.ArgumentParser) -> None:
    """What this table alone is told."""
    parser.add_argument("--pictures-a-turn", type=int, help="pictures of each turn (tax)")


def works(bench: Bench, pictures: int | None) -> list[Work]:
    """The rows that are wanted."""
    sides: tuple[int, ...]
    if bench.is_tiny:
        sides, steps, pairs, many = (64, 256), 20, 5, 3
    else:
        sides, steps, pairs, many = (512,), 3 if bench.device == "cpu" else 20, 5, 1
    if bench.quick:
        sides, steps, pairs, many = sides[:1], 2, 2, 1
    return [
        Work(
            side=side,
            steps=bench.steps or steps,
            pictures=pictures or many,
            pairs=bench.pairs or pairs,
        )
        for side in ((bench.side,) if bench.side else sides)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one of the two took for a picture, by the clock and of the CPU, and its pictures."""

    seconds: float
    cpu: float
    pictures: tuple[Picture, ...]


def turn(paint: Callable[[Body], tuple[float, Picture]], pid: int, bodies: Sequence[Body]) -> Turn:
    """Have all of `bodies` painted by a process."""
    before = cpu_seconds(pid)
    made = [paint(body) for body in bodies]
    cpu = cpu_seconds(pid) - before
    return Turn(
        seconds=sum(taken for taken, _ in made) / len(bodies),
        cpu=cpu / len(bodies),
        pictures=tuple(picture for _, picture in made),
    )


def apart(one: Turn, other: Turn) -> int:
    """The largest difference of their pictures, in levels of 255."""
    pairs = zip(one.pictures, other.pictures, strict=True)
    return max(int(np.abs(ours - theirs).max()) for ours, theirs in pairs)


def row(server: Launched, bare: BareLoop, work: Work) -> Row:
    """Turns of the two, and how far apart their pictures are."""
    bodies = work.bodies()
    by_http = partial(over_http, site_of(server))
    ours: list[Turn] = []
    theirs: list[Turn] = []
    # the first of each shape is slower
    short = {**bodies[0], "steps": 1}
    by_http(short)
    bare.paint(short)
    for pair in range(work.pairs):
        note(f"tax: {work.side}x{work.side}, pair {pair + 1} of {work.pairs}")
        ours.append(turn(by_http, server.process.pid, bodies))
        theirs.append(turn(bare.paint, bare.pid, bodies))
    http_s, bare_s = ([each.seconds for each in turns] for turns in (ours, theirs))
    http_cpu, bare_cpu = ([each.cpu for each in turns] for turns in (ours, theirs))
    measured = {
        "http_s": tuple(http_s),
        "bare_s": tuple(bare_s),
        "ratio": ratios(http_s, bare_s),
        "http_cpu_s": tuple(http_cpu),
        "bare_cpu_s": tuple(bare_cpu),
        "cpu_ratio": ratios(http_cpu, bare_cpu),
        "added_ms": tuple((a - b) * 1000 for a, b in zip(http_s, bare_s, strict=True)),
        "added_cpu_ms": tuple((a - b) * 1000 for a, b in zip(http_cpu, bare_cpu, strict=True)),
        "levels": (float(max(map(apart, ours, theirs))),),
    }
    (most,) = measured["levels"]
    shown = [told(measured[name], digits) for name, digits in SHOWN.items()]
    likeness = f"{most:.0f}" if most <= ALIKE_LEVELS else f"**{most:.0f}: not the same work**"
    return Row(
        cells=(f"{work.side}x{work.side}", f"{work.steps}", *shown, likeness), measured=measured
    )


def measure(bench: Bench, asked: argparse.Namespace) -> Sequence[Table]:
    """HTTP against a bare loop."""
    with served(bench, "tax") as server, bare_loop(bench) as bare:
        rows = [row(server, bare, work) for work in works(bench, asked.pictures_a_turn)]
    return (Table(title="Server tax", columns=COLUMNS, rows=tuple(rows), notes=NOTES),)
