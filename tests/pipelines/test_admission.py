"""Who is let in beside those that run."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pipelines.admission import NOTHING, Admission, Demand, Limits

CPU = torch.device("cpu")
JOB = Demand(rows=2, pixels=4096)


class UpTo:
    """Finds loads worth while up to one."""

    def __init__(self, load: int) -> None:
        self.load = load
        self.noted: list[int] = []

    def note(self, load: int, seconds: float) -> None:
        assert seconds > 0
        self.noted.append(load)

    def is_worth(self, load: int, least: int) -> bool:
        assert least == JOB.load
        return load <= self.load


def admission(load: int = 1 << 40, **limits: object) -> Admission:
    made = Admission(Limits(**limits), lambda: UpTo(load))  # type: ignore[arg-type]
    made.use("model", CPU)
    return made


def forward(count: int = 1) -> Callable[[], Tensor]:
    return lambda: torch.zeros(count, 4, 64, 64)


def failing() -> Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_as_many_as_are_worth_while() -> None:
    three = admission(3 * JOB.load)
    assert three.lets_in(JOB, [], 0)
    assert three.lets_in(JOB, [JOB, JOB], 0)
    assert not three.lets_in(JOB, [JOB, JOB, JOB], 0)


def test_larger_pictures_count_for_more() -> None:
    three = admission(3 * JOB.load)
    assert not three.lets_in(JOB, [Demand(rows=2, pixels=3 * 4096)], 0)


def test_who_has_waited_long_is_let_in_whether_it_pays_or_not() -> None:
    one = admission(JOB.load, patience=5.0)
    assert not one.lets_in(JOB, [JOB], 4.9)
    assert one.lets_in(JOB, [JOB], 5.0)


@pytest.mark.parametrize("waited", [0.0, 1e6])
def test_no_more_rows_than_a_forward_may_have(waited: float) -> None:
    six = admission(max_rows=6)
    assert six.lets_in(JOB, [JOB, JOB], waited)
    assert not six.lets_in(JOB, [JOB, JOB, JOB], waited)
    assert six.most(4096) == 6


@pytest.mark.parametrize("waited", [0.0, 1e6])
def test_without_batching_nobody_is_let_in(waited: float) -> None:
    assert not admission(batching=False).lets_in(JOB, [JOB], waited)
    assert not admission(batching=False).lets_in(JOB, [NOTHING], waited)


def test_no_more_than_memory_was_found_to_hold() -> None:
    learnt = admission()
    with pytest.raises(torch.OutOfMemoryError):
        learnt.measured(8 * 4096, failing)
    learnt.failed(8 * 4096, torch.OutOfMemoryError("CUDA out of memory"))
    assert learnt.most(4096) == 7
    assert learnt.most(4 * 4096) == 1
    assert learnt.lets_in(JOB, [JOB, JOB], 1e6)
    assert not learnt.lets_in(JOB, [JOB, JOB, JOB], 1e6)


def test_forwards_teach_the_pace_once_they_are_done() -> None:
    pace = UpTo(0)
    learnt = Admission(Limits(), lambda: pace)
    learnt.settle()
    learnt.use("model", CPU)
    assert learnt.measured(3 * 4096, forward(3)).shape == (3, 4, 64, 64)
    assert pace.noted == []
    learnt.settle()
    assert pace.noted == [3 * 4096]


def test_each_model_has_a_pace_and_a_room_of_its_own() -> None:
    learnt = admission()
    learnt.failed(4 * 4096, MemoryError())
    learnt.use("other", CPU)
    assert learnt.most(4096) == 64
    learnt.use("model", CPU)
    assert learnt.most(4096) == 3


def test_a_model_not_used_for_long_is_forgotten() -> None:
    learnt = admission()
    learnt.failed(4 * 4096, MemoryError())
    for number in range(8):
        learnt.use(number, CPU)
    learnt.use("model", CPU)
    assert learnt.most(4096) == 64
