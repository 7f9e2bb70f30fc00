"""What a safetensors file says of itself, read without loading a tensor."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import CheckpointNotFound, CorruptCheckpoint

# Bytes of one element (https://github.com/huggingface/safetensors, "Format").
DTYPE_BYTES: Mapping[str, int] = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "F8_E8M0": 1,
    "I16": 2,
    "U16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "U32": 4,
    "F32": 4,
    "I64": 8,
    "U64": 8,
    "F64": 8,
    "C64": 8,
}
LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000
MAX_TENSORS = 50_000
MAX_RANK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorEntry:
    """One tensor's element type (as safetensors spells it), shape, and first byte in its file."""

    dtype: str
    shape: tuple[int, ...]
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Names, types and shapes of a file's tensors, and its free-form metadata."""

    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]


def read_header(path: Path) -> Header:
    """Read and check the header of a safetensors file.

    Every byte after the header must belong to exactly one tensor. Raises CheckpointNotFound and
    CorruptCheckpoint.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            prefix = file.read(LENGTH_BYTES)
            length = _header_length(path, prefix, size)
            raw = file.read(length)
    except FileNotFoundError as error:
        raise CheckpointNotFound(path, "no such file") from error
    except OSError as error:
        raise CorruptCheckpoint(path, f"cannot be read ({error.strerror})") from error
    if len(raw) != length:
        raise CorruptCheckpoint(path, "the file was cut off while it was read")
    fields = _parse(path, raw)
    metadata = _metadata(path, fields.pop("__metadata__", {}))
    if len(fields) > MAX_TENSORS:
        raise CorruptCheckpoint(path, f"{len(fields)} tensors; at most {MAX_TENSORS} are read")
    tensors = _tensors(path, fields, start=LENGTH_BYTES + length, size=size)
    return Header(tensors=tensors, metadata=metadata)


def _header_length(path: Path, prefix: bytes, size: int) -> int:
    if prefix[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04"):
        raise CorruptCheckpoint(path, "holds a pickle, not safetensors; it was not opened")
    if len(prefix) < LENGTH_BYTES:
        raise CorruptCheckpoint(path, f"only {size} bytes long")
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER_BYTES:
        raise CorruptCheckpoint(path, f"header of {length} bytes; not a safetensors file")
    if LENGTH_BYTES + length > size:
        raise CorruptCheckpoint(path, f"cut off: header of {length} bytes in a file of {size}")
    return length


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpoint(path, "the header is not JSON; not a safetensors file") from error
    if not isinstance(fields, dict):
        raise CorruptCheckpoint(path, "the header is not a JSON object")
    return fields


def _metadata(path: Path, value: object) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise CorruptCheckpoint(path, "the header's metadata is not a table of strings")
    return value


def _tensors(
    path: Path, fields: Mapping[str, Any], *, start: int, size: int
) -> dict[str, TensorEntry]:
    spans: list[tuple[int, int, str]] = []
    tensors: dict[str, TensorEntry] = {}
    for name, value in fields.items():
        dtype, shape, begin, end = _entry(path, name, value)
        tensors[name] = TensorEntry(dtype=dtype, shape=shape, position=start + begin)
        spans.append((begin, end, name))
    position, available = 0, size - start
    for begin, end, name in sorted(spans):
        if begin != position:
            kind = "overlaps another tensor" if begin < position else "leaves a gap before it"
            raise CorruptCheckpoint(path, f"tensor {name!r} {kind} (offset {begin})")
        position = end
    if position > available:
        raise CorruptCheckpoint(
            path, f"cut off: {position} bytes of tensors announced, {available} present"
        )
    if position < available:
        raise CorruptCheckpoint(path, f"{available - position} bytes after the last tensor")
    return tensors


def _entry(path: Path, name: str, value: object) -> tuple[str, tuple[int, ...], int, int]:
    match value:
        case {
            "dtype": str(dtype),
            "shape": [*shape],
            "data_offsets": [int(begin), int(end)],
        } if all(type(size) is int and size >= 0 for size in shape):
            pass
        case _:
            raise CorruptCheckpoint(path, f"tensor {name!r} has no proper dtype, shape and offsets")
    if dtype not in DTYPE_BYTES:
        raise CorruptCheckpoint(path, f"tensor {name!r} has the unknown dtype {dtype!r}")
    if len(shape) > MAX_RANK:
        raise CorruptCheckpoint(path, f"tensor {name!r} has {len(shape)} dimensions")
    wanted = math.prod(shape) * DTYPE_BYTES[dtype]
    if begin < 0 or end - begin != wanted:
        raise CorruptCheckpoint(
            path, f"tensor {name!r} spans bytes {begin} to {end}, its shape needs {wanted}"
        )
    return dtype, tuple(shape), begin, end
