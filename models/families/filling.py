"""Bytes of a file into the memory that they stay in: no second copy, several reads at once."""

import math
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..errors import CorruptCheckpoint

#: where tensors begin in a block: a cache line
ALIGNMENT = 64
#: bytes that one read asks for
SLICE = 8 << 20
#: reads at once; more gained nothing on two cores (docs/performance.md)
READERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An open file; `path` is for messages."""

    path: Path
    descriptor: int

    def read(self, position: int, memory: Tensor) -> None:
        """Read the bytes from `position` on into a contiguous tensor on the CPU.

        Safe for several threads. Raises CorruptCheckpoint.
        """
        rest = memory.reshape(-1).view(torch.uint8).numpy().data
        try:
            while len(rest) and (count := os.preadv(self.descriptor, [rest], position)):
                rest, position = rest[count:], position + count
        except OSError as error:
            raise CorruptCheckpoint(self.path, f"cannot be read ({error.strerror})") from error
        if len(rest):
            raise CorruptCheckpoint(self.path, "the file was cut off while it was read")


#: by its name, the file that a tensor is in and its first byte there
Locate = Callable[[str], tuple[Source, int]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """A run of a file's elements from the byte `position` on, and the `target` that they fill.

    `dtype` is the file's; `target` is of any dtype, on any device, and may lie in any order.
    """

    source: Source
    position: int
    dtype: torch.dtype
    target: Tensor


def block(size: int, device: torch.device) -> Tensor:
    """Memory of `size` bytes, uint8 [size]; on the CPU it goes back to the system when let go of.

    The allocator would keep part of it in its heap: switches of models would add up.
    """
    if device.type != "cpu" or size == 0:
        return torch.empty(size, dtype=torch.uint8, device=device)
    return torch.frombuffer(mmap.mmap(-1, size), dtype=torch.uint8)


def laid_out(
    shapes: Sequence[tuple[int, ...]],
    dtype: torch.dtype,
    device: torch.device,
    *,
    channels_last: bool = False,
) -> list[Tensor]:
    """Tensors of these shapes, side by side in one block.

    With `channels_last` those of four dimensions lie with the second one innermost.
    """
    sizes = [math.prod(shape) * dtype.itemsize for shape in shapes]
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + -(-size // ALIGNMENT) * ALIGNMENT)
    memory = block(starts[-1], device)
    return [
        _shaped(memory[start : start + size].view(dtype), shape, channels_last=channels_last)
        for start, size, shape in zip(starts, sizes, shapes, strict=False)
    ]


def _shaped(flat: Tensor, shape: tuple[int, ...], *, channels_last: bool) -> Tensor:
    if not channels_last or len(shape) != 4:
        return flat.view(shape)
    outer, channels, height, width = shape
    return flat.view(outer, height, width, channels).permute(0, 3, 1, 2)


def read_pieces(pieces: Iterable[Piece]) -> None:
    """Read what the pieces say into their targets. Raises CorruptCheckpoint."""
    slices = [each for piece in pieces for each in sliced(piece)]
    slices.sort(key=lambda piece: piece.position)
    with ThreadPoolExecutor(READERS, "reader") as pool:
        for _ in pool.map(_read, slices):
            pass


def equal_pieces(pieces: Iterable[Piece]) -> bool:
    """Whether the targets hold already what the pieces say, to the bit. Raises CorruptCheckpoint.

    The first difference ends it, so that unlike models cost little.
    """
    for part in (each for piece in pieces for each in sliced(piece)):
        found = _scratch(part).to(part.target.device, part.target.dtype)
        mine, theirs = (each.contiguous().reshape(-1) for each in (part.target, found))
        if not torch.equal(mine.view(torch.uint8), theirs.view(torch.uint8)):
            return False
    return True


def sliced(piece: Piece) -> Iterator[Piece]:
    """A long piece in parts of at most SLICE bytes of the file.

    One that is not contiguous is cut along its first side, and no finer.
    """
    position = piece.position
    target, count = piece.target, max(1, SLICE // piece.dtype.itemsize)
    if target.is_contiguous():
        target = target.view(-1)
    elif target.dim() and len(target):
        count = max(1, count // (target.numel() // len(target)))
    for start in range(0, len(target), count):
        part = target[start : start + count]
        yield replace(piece, position=position, target=part)
        position += part.numel() * piece.dtype.itemsize


def _read(piece: Piece) -> None:
    target = piece.target
    if target.device.type == "cpu" and target.dtype is piece.dtype and target.is_contiguous():
        piece.source.read(piece.position, target)
    else:
        target.copy_(_scratch(piece))


def _scratch(piece: Piece) -> Tensor:
    """The piece's elements on the CPU, as the file has them, in the target's shape.

    Pinned for a GPU, so that its copies of several readers overlap.
    """
    pinned = piece.target.device.type == "cuda"
    found = torch.empty(piece.target.shape, dtype=piece.dtype, pin_memory=pinned)
    piece.source.read(piece.position, found)
    return found
