"""One way to have a file's weights in memory, measured: `python -m tests.bench.loading WAY PATH`.

In a process of its own, so that the peak of its memory is that of this way alone. Prints JSON.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file

from models import families
from models.families import Checkpoint
from models.precision import Formats
from tests.bench.processes import forget_peak, peak
from tests.models.families.variants import info_of

#: the whole file is read once before, so that all ways find it in the page cache
BLOCK = 1 << 24


def as_stored(path: Path) -> Checkpoint:
    """Darkroom's, the weights in half precision as the file has them."""
    return _ours(path, torch.float16)


def as_float32(path: Path) -> Checkpoint:
    """Darkroom's as it is on a CPU: every weight becomes float32."""
    return _ours(path, torch.float32)


def mapped(path: Path) -> object:
    """safetensors': the file is mapped, and no weight is read."""
    return load_file(path)


def mapped_and_copied(path: Path) -> object:
    """safetensors', and each tensor copied out of the map: the weights are in memory."""
    return {name: tensor.clone() for name, tensor in load_file(path).items()}


def mapped_to_float32(path: Path) -> object:
    """safetensors', and each tensor made float32."""
    return {name: tensor.float() for name, tensor in load_file(path).items()}


def plainly(path: Path) -> object:
    """The bytes of the file read into memory by one call."""
    return path.read_bytes()


WAYS: Mapping[str, Callable[[Path], object]] = {
    way.__name__: way
    for way in (as_stored, as_float32, mapped, mapped_and_copied, mapped_to_float32, plainly)
}


def _ours(path: Path, dtype: torch.dtype) -> Checkpoint:
    device = torch.device("cpu")
    return families.load(info_of(path), device=device, formats=Formats.all(dtype))


def main() -> None:
    """Measure the way and the file that the command line names."""
    way, path = WAYS[sys.argv[1]], Path(sys.argv[2])
    with path.open("rb", buffering=0) as file:
        while file.read(BLOCK):
            pass
    forget_peak()
    before, started = peak(), time.perf_counter()
    loaded = way(path)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "memory": peak() - before}))  # noqa: T201
    del loaded


if __name__ == "__main__":
    main()
