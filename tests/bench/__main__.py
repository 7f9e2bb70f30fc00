"""`python -m tests.bench TABLE`: measures, prints Markdown, and writes it and JSON with --out."""

import argparse
import importlib
import importlib.util
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

from tests.bench.report import Report, Table, note, occasion
from tests.bench.servers import ON_DEVICE, Bench

ALL = "all"
#: a table's name: its module, which is imported when it is asked for, and what it tells
TABLES: Mapping[str, tuple[str, str]] = {
    "tax": ("tax", "what the server adds to a picture, against a bare loop over the modules"),
    "clients": ("clients", "pictures a second by the number of clients, against other servers"),
    "switch": ("switching", "loads, hashes and switches of checkpoints"),
    "startup": ("startup", "start-up, polls while others paint, the price of previews"),
    "memory": ("memory", "memory at rest, at most and for each picture"),
    "device": ("device", "what a GPU makes of it; needs one"),
}


class Module(Protocol):
    """What a module of TABLES offers."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the options that this table alone is told."""

    def measure(self, bench: Bench, asked: argparse.Namespace) -> Sequence[Table]:
        """Measure it."""


def is_there(name: str) -> bool:
    """Whether the table's module is."""
    return importlib.util.find_spec(f"tests.bench.{TABLES[name][0]}") is not None


def module(name: str) -> Module:
    """Import the table's module."""
    return cast(Module, importlib.import_module(f"tests.bench.{TABLES[name][0]}"))


def wanted(words: Sequence[str]) -> list[str]:
    """The tables that a command line names."""
    return [name for name in TABLES if name in words or ALL in words]


def parser_for(names: Sequence[str]) -> argparse.ArgumentParser:
    """A parser that knows the options of these tables, and the names of all."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    tables = parser.add_subparsers(dest="table", required=True, metavar="TABLE")
    for name, (_, text) in TABLES.items():
        own = tables.add_parser(name, help=text)
        _add_common(own)
        if name in names and is_there(name):
            module(name).add_options(own)
    every = tables.add_parser(ALL, help="all of them, device only with --device cuda")
    _add_common(every)
    for name in names:
        if is_there(name):
            module(name).add_options(every)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, metavar="DIR", help="write TABLE.md and TABLE.json there")
    add("--pairs", type=int, help="pairs that each ratio is the median of")
    add("--quick", action="store_true", help="next to nothing, to see that it works")
    add("--device", choices=tuple(ON_DEVICE), default="cpu")
    add("--threads", type=int, default=1, help="threads of each process on a CPU (1)")
    add("--full-size", action="store_true", help="SD1.5's true shapes, random weights")
    add("--checkpoint", type=Path, metavar="FILE", help="a checkpoint of yours")
    add("--side", type=int, help="width and height of the pictures")
    add("--steps", type=int, help="steps of the pictures")


def run(name: str, asked: argparse.Namespace) -> Report:
    """Measure one table in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="darkroom-bench-") as folder:
        bench = Bench(
            folder=Path(folder),
            device=asked.device,
            threads=asked.threads,
            quick=asked.quick,
            full_size=asked.full_size,
            checkpoint=asked.checkpoint and asked.checkpoint.resolve(),
            pairs=asked.pairs,
            side=asked.side,
            steps=asked.steps,
        )
        tables = module(name).measure(bench, asked)
    made = occasion(flags_of(asked), device=asked.device, threads=asked.threads)
    return Report(name=name, occasion=made, tables=tuple(tables))


def flags_of(asked: argparse.Namespace) -> dict[str, object]:
    """What was asked for in so many words; an account in an address is nobody's to read."""
    flags = {name: value for name, value in vars(asked).items() if value not in (None, False, [])}
    flags |= {"url": " ".join(url.rpartition("@")[2] for url in flags.get("url", []))}
    return {name: value for name, value in flags.items() if name not in ("table", "out") and value}


def main(words: Sequence[str]) -> int:
    """Measure what the command line asks for; returns the exit status."""
    names = wanted(words)
    asked = parser_for(names).parse_args(words)
    if asked.table == ALL:
        names = [name for name in names if name != "device" or asked.device == "cuda"]
    else:
        names = [asked.table]
    for name in names:
        if not is_there(name):
            note(f"{name}: tests/bench/{TABLES[name][0]}.py is not there yet")
            return 1
        report = run(name, asked)
        sys.stdout.write(report.markdown() + "\n")
        sys.stdout.flush()
        if asked.out is not None:
            report.write(asked.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
