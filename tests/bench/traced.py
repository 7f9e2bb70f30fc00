"""A server that writes down when its steps are done: `python -m tests.bench.traced FILE flags...`.

Of each sampling step a line: which job's, as a number from 0, and `time.perf_counter_ns()`.
"""

import os
import sys
import time
from typing import Any
from weakref import WeakKeyDictionary

from pipelines.watch import Watch
from server.__main__ import main


def trace(path: str) -> None:
    """Have the steps of all jobs written to a file."""
    out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    numbers: WeakKeyDictionary[Watch, int] = WeakKeyDictionary()
    seen: list[int] = []
    plain = Watch.stepped

    def stepped(watch: Watch, *args: Any, **named: Any) -> None:
        if watch not in numbers:
            numbers[watch] = len(seen)
            seen.append(len(seen))
        os.write(out, f"{numbers[watch]} {time.perf_counter_ns()}\n".encode())
        plain(watch, *args, **named)

    Watch.stepped = stepped  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    trace(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
