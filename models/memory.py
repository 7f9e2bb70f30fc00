"""How much memory a device has, and how much of it is used."""

from collections.abc import Mapping

import torch

# torch's counters (torch.cuda.memory_stats) by the names that /sdapi/v1/memory gives them.
CUDA_COUNTERS: Mapping[str, str] = {
    "active": "active.all",
    "allocated": "allocated_bytes.all",
    "reserved": "reserved_bytes.all",
    "inactive": "inactive_split_bytes.all",
}


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
