"""What a process takes: memory now and at most, and time of the CPU (Linux)."""

from pathlib import Path

import psutil


def peak(process: int | str = "self") -> int:
    """The most memory that a process had at once since `forget_peak`, or its start, in bytes."""
    return _field(process, "VmHWM:")


def held(process: int | str = "self") -> int:
    """The memory that a process has now, in bytes."""
    return _field(process, "VmRSS:")


def forget_peak(process: int | str = "self") -> None:
    """Have `peak` count from what a process has now."""
    Path(f"/proc/{process}/clear_refs").write_text("5")


def cpu_seconds(process: int) -> float:
    """The time of the CPU that all threads of a process had so far.

    Where others keep the machine busy it says more than the clock: their turns do not count.
    """
    times = psutil.Process(process).cpu_times()
    return times.user + times.system


def _field(process: int | str, name: str) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith(name))
    return int(kilobytes) * 1024
