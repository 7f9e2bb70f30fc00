"""Bytes of a file straight into place: whatever the type and order, and no file is trusted."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.errors import CorruptCheckpoint
from models.families import filling
from models.families.filling import (
    ALIGNMENT,
    Piece,
    Source,
    equal_pieces,
    laid_out,
    read_pieces,
    sliced,
)

CPU = torch.device("cpu")
NUMBERS = torch.arange(5000, dtype=torch.float32).sin()


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    """7 bytes of something else, then the numbers in half precision."""
    path = tmp_path / "numbers"
    path.write_bytes(b"headers" + NUMBERS.half().numpy().tobytes())
    descriptor = os.open(path, os.O_RDONLY)
    yield Source(path=path, descriptor=descriptor)
    os.close(descriptor)


def piece(source: Source, target: Tensor, *, first: int = 0) -> Piece:
    return Piece(source=source, position=7 + 2 * first, dtype=torch.float16, target=target)


@pytest.fixture
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """One read asks for 1000 bytes, so that a tensor takes several."""
    monkeypatch.setattr(filling, "SLICE", 1000)


@pytest.mark.usefixtures("short_slices")
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16])
def test_tensors_arrive_in_the_type_that_they_are_wanted_in(
    source: Source, dtype: torch.dtype
) -> None:
    whole, part = laid_out([(50, 100), (3, 7)], dtype, CPU)
    read_pieces([piece(source, part, first=1234), piece(source, whole)])
    assert torch.equal(whole, NUMBERS.half().to(dtype).view(50, 100))
    assert torch.equal(part, NUMBERS.half().to(dtype)[1234:1255].view(3, 7))


@pytest.mark.usefixtures("short_slices")
def test_a_matrix_that_the_file_has_transposed_is_turned(source: Source) -> None:
    (matrix,) = laid_out([(100, 50)], torch.float16, CPU)
    read_pieces([piece(source, matrix.T)])
    assert torch.equal(matrix, NUMBERS.half().view(50, 100).T)


@pytest.mark.usefixtures("short_slices")
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("shape", [(20, 5, 5, 3), (8, 40, 1, 1), (2, 100, 5, 5), (5000,)])
def test_convolutions_may_lie_channels_last(
    source: Source, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    count = math.prod(shape)
    kernel, behind = laid_out([shape, (7,)], dtype, CPU, channels_last=True)
    read_pieces([piece(source, kernel), piece(source, behind, first=100)])
    wanted = NUMBERS[:count].half().to(dtype)
    assert torch.equal(kernel, wanted.view(shape))
    assert torch.equal(behind, NUMBERS[100:107].half().to(dtype))
    if len(shape) == 4:
        assert kernel.is_contiguous(memory_format=torch.channels_last)
        in_memory = kernel.permute(0, 2, 3, 1)
        assert in_memory.is_contiguous()
        assert in_memory.untyped_storage().data_ptr() == behind.untyped_storage().data_ptr()
    assert equal_pieces([piece(source, kernel), piece(source, behind, first=100)])
    kernel[-1] += 1
    assert not equal_pieces([piece(source, kernel)])


def test_a_number_without_dimensions_arrives(source: Source) -> None:
    (number,) = laid_out([()], torch.float32, CPU)
    read_pieces([piece(source, number, first=9)])
    assert number.item() == NUMBERS[9].half().item()


def test_what_is_laid_out_is_one_memory_and_begins_at_cache_lines() -> None:
    first, second, empty, third = laid_out([(3,), (2, 2), (0, 5), ()], torch.float16, CPU)
    assert first.untyped_storage().data_ptr() == third.untyped_storage().data_ptr()
    assert first.untyped_storage().nbytes() == 3 * ALIGNMENT
    assert [each.storage_offset() * 2 % ALIGNMENT for each in (first, second, third)] == [0, 0, 0]
    assert empty.shape == (0, 5)
    for number, each in enumerate((first, second, third)):
        each.fill_(number)
    assert [set(each.flatten().tolist()) for each in (first, second, third)] == [{0}, {1}, {2}]


def test_a_file_that_was_cut_off_is_named(source: Source, tmp_path: Path) -> None:
    os.truncate(source.path, 7 + 2 * 4000)
    (whole,) = laid_out([(5000,)], torch.float16, CPU)
    with pytest.raises(CorruptCheckpoint, match="cut off while it was read"):
        read_pieces([piece(source, whole)])


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (whole,) = laid_out([(5,)], torch.float16, CPU)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(CorruptCheckpoint, match="cannot be read"):
        read_pieces([piece(Source(path=tmp_path, descriptor=descriptor), whole)])
    os.close(descriptor)


@pytest.mark.usefixtures("short_slices")
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_equality_is_to_the_bit(source: Source, dtype: torch.dtype) -> None:
    same = NUMBERS.half().to(dtype)
    assert equal_pieces([piece(source, same)])
    other = same.clone()
    other[-1] = float(np.nextafter(other[-1].numpy(), np.asarray(9, other.numpy().dtype)))
    assert not equal_pieces([piece(source, other)])
    zero, negative = torch.zeros(4), -torch.zeros(4)
    path = source.path.with_name("zero")
    path.write_bytes(zero.half().numpy().tobytes())
    with path.open("rb") as file:
        there = Source(path=path, descriptor=file.fileno())
        pieces = [
            Piece(source=there, position=0, dtype=torch.float16, target=each)
            for each in (zero, negative)
        ]
        assert [equal_pieces([each]) for each in pieces] == [True, False]


def test_the_first_difference_ends_the_comparison(source: Source) -> None:
    beyond = Piece(source=source, position=10**9, dtype=torch.float16, target=torch.ones(3))
    assert not equal_pieces([piece(source, torch.ones(3)), beyond])


def test_long_pieces_are_cut_at_whole_elements(source: Source) -> None:
    count = filling.SLICE // 2 + 3
    parts = list(sliced(piece(source, torch.empty(count))))
    assert [len(part.target) for part in parts] == [count - 3, 3]
    assert [part.position for part in parts] == [7, 7 + 2 * (count - 3)]
