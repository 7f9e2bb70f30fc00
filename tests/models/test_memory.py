import errno
import mmap
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models import memory
from models.memory import available, cuda, forget_frames, is_out_of_memory

CPU = torch.device("cpu")


def test_a_cpu_has_no_cuda_figures() -> None:
    assert cuda(CPU) is None


def cgroup(folder: Path, limit: str, used: int, files: int) -> Path:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 7\ninactive_file {files}\nactive_file 9\n")
    return folder


def test_a_container_has_what_its_limit_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "CGROUP", cgroup(tmp_path, "1000", 700, 50))
    assert available(CPU) == 350
    cgroup(tmp_path, "1000", 2000, 50)
    assert available(CPU) == 0


@pytest.mark.parametrize("limit", ["max", None])
def test_without_a_limit_the_machine_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None
) -> None:
    if limit is not None:
        cgroup(tmp_path, limit, 700, 50)
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert 0 < available(CPU) < total


class Weights:
    """Something that can be seen to have gone."""


def reading(seen: "list[weakref.ref[Weights]]") -> None:
    weights = Weights()
    seen.append(weakref.ref(weights))
    raise OSError


def loading(seen: "list[weakref.ref[Weights]]") -> None:
    part = Weights()
    seen.append(weakref.ref(part))
    try:
        reading(seen)
    except OSError as error:
        raise ValueError from error


def test_an_error_lets_go_of_what_its_frames_and_those_of_its_cause_held() -> None:
    seen: list[weakref.ref[Weights]] = []
    with pytest.raises(ValueError) as caught:
        loading(seen)
    assert [each() is None for each in seen] == [False, False]
    forget_frames(caught.value)
    assert [each() is None for each in seen] == [True, True]
    assert isinstance(caught.value.__cause__, OSError)


def raised(action: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as caught:  # whatever it is, it is looked at
        action()
    return caught.value


@pytest.mark.parametrize(
    "action",
    [
        lambda: torch.empty(1 << 50),
        lambda: bytearray(1 << 62),
        lambda: mmap.mmap(-1, 1 << 55),
    ],
)
def test_memory_that_ran_out_is_known_by_its_error(action: Callable[[], object]) -> None:
    assert is_out_of_memory(raised(action))


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (torch.OutOfMemoryError("Tried to allocate 2.00 GiB."), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (OSError(errno.ENOENT, "No such file"), False),
        (ValueError("out of memory"), False),
        (None, False),
    ],
)
def test_other_errors_say_nothing_of_memory(error: BaseException | None, wanted: bool) -> None:
    assert is_out_of_memory(error) is wanted
