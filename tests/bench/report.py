"""Tables of measurements: every single one, their medians, and the machine; Markdown and JSON."""

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import torch

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of a table: its cells as they are shown, and by name all that was measured for it."""

    cells: tuple[str, ...]
    measured: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Lines under a title; `notes` say how they came about and what is aimed at."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """When, where and by which command a report was made."""

    date: str
    commit: str
    flags: Mapping[str, object]
    machine: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one command measured."""

    name: str
    occasion: Occasion
    tables: tuple[Table, ...]

    def markdown(self) -> str:
        """The report as docs/performance.md has it."""
        made = self.occasion
        machine = ", ".join(f"{name}: {value}" for name, value in made.machine.items() if value)
        command = " ".join(["python -m tests.bench", self.name, *_words(made.flags)])
        head = f"{made.date}, commit {made.commit}, `{command}`; {machine}."
        return "\n\n".join([f"# {self.name}", head, *map(_markdown, self.tables)]) + "\n"

    def json(self) -> str:
        """The same with every single measurement, and the median of each."""
        data = asdict(self)
        for table in data["tables"]:
            for row in table["rows"]:
                measured = row["measured"].items()
                row["medians"] = {
                    name: statistics.median(values) for name, values in measured if values
                }
        return json.dumps(data, indent=1) + "\n"

    @classmethod
    def read(cls, text: str) -> "Report":
        """Read what `json` wrote."""
        data = json.loads(text)
        tables = tuple(_table(each) for each in data["tables"])
        return cls(name=data["name"], occasion=Occasion(**data["occasion"]), tables=tables)

    def write(self, folder: Path) -> None:
        """Write NAME.md and NAME.json."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.md").write_text(self.markdown(), "utf-8")
        (folder / f"{self.name}.json").write_text(self.json(), "utf-8")


def _words(flags: Mapping[str, object]) -> list[str]:
    """Flags as a command line has them."""
    words = []
    for name, value in flags.items():
        words.append("--" + name.replace("_", "-"))
        words += [] if value is True else [shlex.quote(str(value))]
    return words


def _markdown(table: Table) -> str:
    lines = [table.columns, ("---",) * len(table.columns), *(row.cells for row in table.rows)]
    drawn = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return "\n\n".join([f"## {table.title}", drawn, *table.notes])


def _table(data: Mapping[str, Any]) -> Table:
    rows = (
        Row(
            cells=tuple(each["cells"]),
            measured={name: tuple(values) for name, values in each["measured"].items()},
        )
        for each in data["rows"]
    )
    return Table(
        title=data["title"],
        columns=tuple(data["columns"]),
        rows=tuple(rows),
        notes=tuple(data["notes"]),
    )


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    """Ours of theirs, pair by pair: what slows a machine down for a while slows both of a pair."""
    return tuple(own / other for own, other in zip(ours, theirs, strict=True))


def told(values: Sequence[float], digits: int = 2) -> str:
    """The median, with the least and the most where there are several."""
    if not values:
        return "-"
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that at least `share` (0 to 1) of all do not exceed."""
    ordered = sorted(values)
    exceeded = sum(1 for place in range(len(ordered)) if (place + 1) / len(ordered) < share)
    return ordered[min(exceeded, len(ordered) - 1)]


def occasion(flags: Mapping[str, object], *, device: str, threads: int) -> Occasion:
    """Now, on this machine."""
    return Occasion(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=_commit(),
        flags={name: _plain(value) for name, value in flags.items()},
        machine=_machine(device, threads),
    )


def note(text: str) -> None:
    """Say on the error output what is measured just now."""
    sys.stderr.write(f"{text}\n")


def _plain(value: object) -> object:
    """A flag's value as JSON and a command line have it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _machine(device: str, threads: int) -> Mapping[str, object]:
    gpu = torch.cuda.get_device_name() if device == "cuda" else None
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory": f"{psutil.virtual_memory().total / 1e9:.0f} GB",
        "gpu": gpu,
        "torch": torch.__version__,
        "threads": threads,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "load average": f"{os.getloadavg()[0]:.1f}",
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def _commit() -> str:
    """The commit, and whether the tree has changes over it; a copy without git has none."""
    command = ["git", "describe", "--always", "--dirty=+changes", "--exclude=*"]
    # looking is no reason to hold up whoever commits meanwhile
    calm = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=calm, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
