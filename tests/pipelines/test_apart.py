"""Work done together, and what is left of it when a part fails."""

from collections.abc import Sequence

import pytest
import torch

from pipelines.apart import answered, attempt

CPU = torch.device("cpu")


class Device:
    """Doubles numbers; holds at most `room` at once, and cannot stand some."""

    def __init__(self, room: int = 100, *bad: int) -> None:
        self.room, self.bad = room, bad
        self.calls: list[list[int]] = []

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.calls.append(list(numbers))
        if len(numbers) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        for number in numbers:
            if number in self.bad:
                raise ValueError(f"{number} is bad")
        return [2 * number for number in numbers]


def test_all_go_together() -> None:
    device = Device()
    assert answered(device, [1, 2, 3], CPU) == [2, 4, 6]
    assert device.calls == [[1, 2, 3]]


def test_nothing_asks_for_nothing() -> None:
    device = Device()
    assert answered(device, [], CPU) == []
    assert device.calls == []


@pytest.mark.parametrize("bad", [0, 3, 7])
def test_only_the_culprit_has_an_error(bad: int) -> None:
    found = answered(Device(100, bad), list(range(8)), CPU)
    error = found[bad]
    assert isinstance(error, ValueError)
    assert str(error) == f"{bad} is bad"
    assert [each for each in found if not isinstance(each, ValueError)] == [
        2 * number for number in range(8) if number != bad
    ]


def test_several_culprits_have_their_own() -> None:
    found = answered(Device(100, 1, 6), list(range(8)), CPU)
    assert [isinstance(each, ValueError) for each in found] == [
        number in (1, 6) for number in range(8)
    ]


def test_what_is_too_much_goes_in_parts() -> None:
    device = Device(2)
    assert answered(device, list(range(8)), CPU) == list(range(0, 16, 2))
    assert [len(call) for call in device.calls] == [8, 4, 2, 2, 4, 2, 2]


def test_each_failure_is_told() -> None:
    told: list[tuple[int, type[Exception]]] = []
    answered(
        Device(2, 5),
        [0, 1, 2, 3, 5],
        CPU,
        lambda some, error: told.append((len(some), type(error))),
    )
    assert told == [
        (5, torch.OutOfMemoryError),
        (3, torch.OutOfMemoryError),
        (2, ValueError),
        (1, ValueError),
    ]


def test_an_attempt_gives_a_result_or_an_error() -> None:
    assert attempt(int, "7") == (7, None)
    result, error = attempt(int, "x")
    assert result is None
    assert isinstance(error, ValueError)
