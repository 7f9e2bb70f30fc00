"""A checkpoint file's tensors, one at a time."""

import math
import pickle
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import RawIOBase
from pathlib import Path

import torch
from torch import Tensor

from ..catalog import PICKLE
from ..errors import CheckpointNotFound, CorruptCheckpoint, UnsupportedCheckpoint
from ..header import Header, TensorEntry, read_header

# safetensors' names of the element types that weights may have in a file.
FLOATS: Mapping[str, torch.dtype] = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
# Endings of files that hold pickles.
PICKLES = (PICKLE, ".pt", ".pth", ".bin")
SPELLINGS: Mapping[torch.dtype, str] = {dtype: name for name, dtype in FLOATS.items()}
# What torch's unpickler of weights raises on damaged bytes, besides UnpicklingError.
DAMAGE = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    struct.error,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """An open checkpoint file: its header, and its tensors, on the CPU, by name."""

    path: Path
    header: Header
    read: Callable[[str], Tensor]


@contextmanager
def open_weights(path: Path, *, allow_pickle: bool) -> Iterator[Weights]:
    """Open a checkpoint for reading.

    Raises CheckpointNotFound, CorruptCheckpoint, and UnsupportedCheckpoint for a pickle that is
    not allowed or holds more than tensors.
    """
    if path.suffix.lower() in PICKLES:
        if not allow_pickle:
            raise UnsupportedCheckpoint(path, "pickles are read only when allowed by flag")
        tensors = _unpickle(path)
        yield Weights(path=path, header=_header_of(tensors), read=tensors.__getitem__)
        return
    header = read_header(path)
    # Read rather than mapped: a file that is cut off or overwritten meanwhile is then an error (a
    # mapped one would end the process), and its pages do not stand in memory beside the tensors.
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise CheckpointNotFound(path, f"cannot be opened ({error.strerror})") from error
    with file:
        yield Weights(path=path, header=header, read=partial(_read, path, file, header))


def _read(path: Path, file: RawIOBase, header: Header, name: str) -> Tensor:
    """Read one tensor of a supported type. Raises CorruptCheckpoint."""
    entry = header.tensors[name]
    dtype = FLOATS[entry.dtype]
    content = torch.empty(math.prod(entry.shape) * dtype.itemsize, dtype=torch.uint8)
    rest = content.numpy().data
    try:
        file.seek(entry.position)
        while len(rest) and (count := file.readinto(rest)):
            rest = rest[count:]
    except OSError as error:
        raise CorruptCheckpoint(path, f"cannot be read ({error.strerror})") from error
    if len(rest):
        raise CorruptCheckpoint(path, "the file was cut off while it was read")
    return content.view(dtype).reshape(entry.shape)


def _unpickle(path: Path) -> dict[str, Tensor]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsupportedCheckpoint(
            path, "the pickle holds more than tensors, or is damaged; convert it to safetensors"
        ) from error
    except FileNotFoundError as error:
        raise CheckpointNotFound(path, "no such file") from error
    except DAMAGE as error:
        raise CorruptCheckpoint(path, f"cannot be unpickled ({error})") from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict):
        raise CorruptCheckpoint(path, "the pickle holds no table of tensors")
    return {name: value for name, value in loaded.items() if isinstance(value, Tensor)}


def _header_of(tensors: Mapping[str, Tensor]) -> Header:
    entries = {
        name: TensorEntry(
            dtype=SPELLINGS.get(tensor.dtype, str(tensor.dtype)), shape=tuple(tensor.shape)
        )
        for name, tensor in tensors.items()
    }
    return Header(tensors=entries, metadata={})
