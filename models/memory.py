"""How much memory a device has, how much of it is used, and giving back what was freed."""

import ctypes
import errno
import gc
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import psutil
import torch

Result = TypeVar("Result")

# torch's counters (torch.cuda.memory_stats) by the names that /sdapi/v1/memory gives them.
CUDA_COUNTERS: Mapping[str, str] = {
    "active": "active.all",
    "allocated": "allocated_bytes.all",
    "reserved": "reserved_bytes.all",
    "inactive": "inactive_split_bytes.all",
}
#: how torch's own RuntimeErrors begin to say it: the CPU's allocator, CUDA, and its libraries
_NO_MEMORY = ("can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED")
#: what a container may use, where it may not use all (cgroup v2)
CGROUP = Path("/sys/fs/cgroup")


def cuda(device: torch.device) -> dict[str, dict[str, int]] | None:
    """Count a CUDA device's bytes and allocator events; None on any other device."""
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    stats = torch.cuda.memory_stats(device)
    counters = {
        name: {"current": stats[f"{key}.current"], "peak": stats[f"{key}.peak"]}
        for name, key in CUDA_COUNTERS.items()
    }
    events = {"retries": stats["num_alloc_retries"], "oom": stats["num_ooms"]}
    return {
        "system": {"free": free, "used": total - free, "total": total},
        **counters,
        "events": events,
    }


def available(device: torch.device) -> int:
    """Bytes that can still be had on a device; for the CPU, of the machine or the container."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    machine = psutil.virtual_memory().available
    container = _container_available(CGROUP)
    return machine if container is None else min(machine, container)


def spare(device: torch.device) -> int:
    """Bytes that tensors can still have: those available, and what torch keeps for them."""
    free = available(device)
    if device.type == "cuda":
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free


def peak_of(device: torch.device, run: Callable[[], Result]) -> tuple[Result, int | None]:
    """What `run` gives, and the most bytes it had at once beyond those there before.

    None on a CPU, where nobody counts. A GPU's own peak, as /sdapi/v1/memory tells it, begins anew.
    """
    if device.type != "cuda":
        return run(), None
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    result = run()
    return result, torch.cuda.max_memory_allocated(device) - before


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error says that memory ran out, in RAM or on a GPU: less at once may go well."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(each in str(error) for each in _NO_MEMORY)


def give_back(device: torch.device) -> None:
    """Return to the system what was freed of late.

    Modules hold reference cycles; the C library keeps freed pages in its heap, torch those of a GPU
    in its cache. Looking for the cycles holds up every thread: 0.2 s, or a few ms after `settle`.
    """
    gc.collect()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    if device.type == "cuda":
        torch.cuda.empty_cache()


def settle() -> None:
    """Count what is in memory now as there to stay; nothing looks for cycles in it any more.

    For once torch and its like are imported: half a million objects.
    """
    gc.collect()
    gc.freeze()


def forget_frames(error: BaseException | None) -> None:
    """Let go of what the frames that an error passed through still hold.

    An error is kept as long as its job's outcome, and with it half a model.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _container_available(cgroup: Path) -> int | None:
    """What the container's limit leaves, files in the page cache counting as free; None without."""
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
        lines = (cgroup / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return None
    stats = dict(line.split(maxsplit=1) for line in lines if " " in line)
    return max(0, limit - used + int(stats.get("inactive_file", "0")))
