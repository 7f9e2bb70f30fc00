"""A checkpoint file's tensors, one at a time."""

import os
import pickle
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path

import torch
from torch import Tensor

from ..catalog import PICKLE
from ..errors import CheckpointNotFound, CorruptCheckpoint, UnsupportedCheckpoint
from ..header import Header, TensorEntry, header_of
from .filling import Locate, Source
from .sharing import Stock

# safetensors' names of the element types that weights may have in a file.
FLOATS: Mapping[str, torch.dtype] = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
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
    """An open checkpoint file: its header, and its tensors, on the CPU, by name.

    With `locate` they can be read straight into place. `stock` has what may be shared with other
    checkpoints.
    """

    path: Path
    header: Header
    read: Callable[[str], Tensor]
    locate: Locate | None = None
    stock: Stock | None = None


@contextmanager
def open_weights(
    path: Path, *, allow_pickle: bool, stock: Stock | None = None
) -> Iterator[Weights]:
    """Open a checkpoint for reading.

    Header and tensors are those of one file, whatever becomes of its name meanwhile; at the end a
    file that was changed or replaced while it was open is an error. Raises CheckpointNotFound,
    CorruptCheckpoint, and UnsupportedCheckpoint for a pickle that is not allowed or holds more than
    tensors.
    """
    if path.suffix.lower() in PICKLES:
        if not allow_pickle:
            raise UnsupportedCheckpoint(path, "pickles are read only when allowed by flag")
        tensors = _unpickle(path)
        yield Weights(path=path, header=_header_of(tensors), read=tensors.__getitem__)
        return
    # Read rather than mapped: a file that is cut off or overwritten meanwhile is then an error (a
    # mapped one would end the process), and its pages do not stand in memory beside the tensors.
    with _opened(path) as file:
        before = _state(os.fstat(file.fileno()))
        header = _header(path, file)
        source = Source(path=path, descriptor=file.fileno())
        yield Weights(
            path=path,
            header=header,
            read=partial(_read, source, header),
            locate=lambda name: (source, header.tensors[name].position),
            stock=stock,
        )
        try:
            same = _state(os.fstat(file.fileno())) == before == _state(path.stat())
        except OSError:
            same = False
        if not same:
            raise CorruptCheckpoint(path, "the file was changed or replaced while it was read")


def _opened(path: Path) -> FileIO:
    try:
        return FileIO(path)
    except FileNotFoundError as error:
        raise CheckpointNotFound(path, "no such file") from error
    except OSError as error:
        raise CorruptCheckpoint(path, f"cannot be read ({error.strerror})") from error


def _header(path: Path, file: FileIO) -> Header:
    try:
        return header_of(path, file)
    except OSError as error:
        raise CorruptCheckpoint(path, f"cannot be read ({error.strerror})") from error


def _state(found: os.stat_result) -> tuple[int, ...]:
    """What tells one state of a file from another: which file, its length, its last change."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _read(source: Source, header: Header, name: str) -> Tensor:
    """Read one tensor of a supported type. Raises CorruptCheckpoint."""
    entry = header.tensors[name]
    content = torch.empty(entry.shape, dtype=FLOATS[entry.dtype])
    source.read(entry.position, content)
    return content


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
