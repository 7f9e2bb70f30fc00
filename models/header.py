"""What a safetensors file says of itself, read without loading a tensor."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import IO, Any

from .errors import CheckpointNotFound, CorruptCheckpoint

# Bytes of one element (https://github.com/huggingface/safetensors, "Format").
DTYPE_BYTES: Mapping[str, int] = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "F8_E8M0": 1,
    "F8_E4M3FNUZ": 1,
    "F8_E5M2FNUZ": 1,
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
MAX_SIZE = 1 << 63
#: values in the header's JSON, metadata included; each takes some 60 bytes once it is read
MAX_ITEMS = 4_000_000
MAX_NAME = 500
MAX_SHOWN = 120
PICKLE = "a pickle, not safetensors; it was not opened"
#: first bytes of files that are often taken for safetensors
OTHERS: Mapping[bytes, str] = {
    b"PK\x03\x04": PICKLE,
    b"\x80\x02": PICKLE,
    b"\x80\x03": PICKLE,
    b"\x80\x04": PICKLE,
    b"\x80\x05": PICKLE,
    b"GGUF": "a GGUF file, which is not supported",
    b"version ": "a Git LFS pointer; the weights themselves were not downloaded",
    b"<!": "a web page, not the file that was to be downloaded",
    b"<htm": "a web page, not the file that was to be downloaded",
}


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
            return header_of(path, file)
    except FileNotFoundError as error:
        raise CheckpointNotFound(path, "no such file") from error
    except OSError as error:
        raise CorruptCheckpoint(path, f"cannot be read ({error.strerror})") from error


def header_of(path: Path, file: IO[bytes] | FileIO) -> Header:
    """Read and check the header of a file open at its start; `path` is for messages.

    Raises CorruptCheckpoint and OSError.
    """
    size = os.fstat(file.fileno()).st_size
    length = _header_length(path, file.read(LENGTH_BYTES), size)
    raw = _read_all(file, length)
    if len(raw) != length:
        raise CorruptCheckpoint(path, "the file was cut off while it was read")
    fields = _parse(path, raw)
    metadata = _metadata(path, fields.pop("__metadata__", {}))
    if len(fields) > MAX_TENSORS:
        raise CorruptCheckpoint(path, f"{len(fields)} tensors; at most {MAX_TENSORS} are read")
    tensors = _tensors(path, fields, start=LENGTH_BYTES + length, size=size)
    return Header(tensors=tensors, metadata=metadata)


def _read_all(file: IO[bytes] | FileIO, length: int) -> bytes:
    """Read `length` bytes, or what is there: one call on an unbuffered file may give fewer."""
    parts: list[bytes] = []
    while length and (part := file.read(length)):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _header_length(path: Path, prefix: bytes, size: int) -> int:
    length = int.from_bytes(prefix, "little")
    if len(prefix) == LENGTH_BYTES and length <= min(MAX_HEADER_BYTES, size - LENGTH_BYTES):
        return length
    for start, kind in OTHERS.items():
        if prefix.startswith(start):
            raise CorruptCheckpoint(path, f"is {kind}")
    if len(prefix) < LENGTH_BYTES:
        raise CorruptCheckpoint(path, f"only {size} bytes long")
    if length > MAX_HEADER_BYTES:
        raise CorruptCheckpoint(path, f"header of {length} bytes; not a safetensors file")
    raise CorruptCheckpoint(path, f"cut off: header of {length} bytes in a file of {size}")


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    # Counted before they are made: a header of 100 MB could ask for gigabytes.
    if sum(map(raw.count, (b",", b"[", b"{"))) > MAX_ITEMS:
        raise CorruptCheckpoint(path, f"more than {MAX_ITEMS} values in the header")
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
            raise CorruptCheckpoint(path, f"tensor {shown(name)} {kind} (offset {begin})")
        position = end
    if position > available:
        raise CorruptCheckpoint(
            path, f"cut off: {position} bytes of tensors announced, {available} present"
        )
    if position < available:
        raise CorruptCheckpoint(path, f"{available - position} bytes after the last tensor")
    return tensors


def shown(name: str) -> str:
    """A tensor's name as messages have it: in quotes, in ASCII, and no longer than can be read."""
    return ascii(name if len(name) <= MAX_SHOWN else name[:MAX_SHOWN] + "...")


def _entry(path: Path, name: str, value: object) -> tuple[str, tuple[int, ...], int, int]:
    match value:
        case {
            "dtype": str(dtype),
            "shape": [*shape],
            "data_offsets": [int(begin), int(end)],
        } if all(type(size) is int and 0 <= size < MAX_SIZE for size in (*shape, begin, end)):
            pass
        case _:
            raise CorruptCheckpoint(
                path, f"tensor {shown(name)} has no proper dtype, shape and offsets"
            )
    if len(name) > MAX_NAME:
        raise CorruptCheckpoint(path, f"tensor {shown(name)} has a name of {len(name)} characters")
    if not _is_unicode(name):
        raise CorruptCheckpoint(path, f"the tensor name {shown(name)} is not Unicode")
    if dtype not in DTYPE_BYTES:
        raise CorruptCheckpoint(path, f"tensor {shown(name)} has the unknown dtype {shown(dtype)}")
    if len(shape) > MAX_RANK:
        raise CorruptCheckpoint(path, f"tensor {shown(name)} has {len(shape)} dimensions")
    wanted = math.prod(shape) * DTYPE_BYTES[dtype]
    # An empty tensor's other sizes count too: nothing can be made of them beyond 63 bits.
    if end - begin != wanted or math.prod(max(1, size) for size in shape) >= MAX_SIZE:
        raise CorruptCheckpoint(
            path, f"tensor {shown(name)} spans bytes {begin} to {end}, its shape needs {wanted}"
        )
    return dtype, tuple(shape), begin, end


def _is_unicode(text: str) -> bool:
    """Whether it can be sent as UTF-8: JSON's escapes can spell half a surrogate pair."""
    return text.isascii() or text.encode("utf-8", "replace").decode() == text
