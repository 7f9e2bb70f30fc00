"""Which loads are found worth while: a device whose speed at each load is known."""

import pytest

from pipelines.pace import Pace

ROW = 4096


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def shown(pace: Pace, **speeds: float) -> None:
    """Forwards of one, two, four, ... rows at these speeds, in rows a second."""
    for name, speed in speeds.items():
        rows = int(name.removeprefix("r"))
        for _ in range(4):
            pace.note(rows * ROW, rows / speed)


def worth(pace: Pace) -> int:
    """The most rows that are worth while, of jobs of two rows each."""
    loads = [rows for rows in range(2, 200, 2) if pace.is_worth(rows * ROW, 2 * ROW)]
    assert loads == list(range(2, len(loads) * 2 + 1, 2)), "less than what pays pays too"
    return loads[-1]


def test_while_nothing_is_known_two_jobs_may_try() -> None:
    assert worth(Pace()) == 4


def test_an_octave_more_than_is_known_may_be_tried() -> None:
    pace = Pace()
    shown(pace, r2=100)
    assert worth(pace) == 6
    shown(pace, r4=180)
    assert worth(pace) == 14
    shown(pace, r8=300)
    assert worth(pace) == 30


def test_a_device_that_two_rows_keep_busy_is_given_no_more() -> None:
    pace = Pace()
    shown(pace, r2=10, r4=10.2)
    assert worth(pace) == 2


def test_the_smallest_load_is_worth_while_that_is_nearly_the_fastest() -> None:
    pace = Pace()
    shown(pace, r2=100, r4=190, r8=330, r16=352, r32=350)
    assert worth(pace) == 14


def test_a_slow_octave_in_between_stops_nobody() -> None:
    pace = Pace()
    shown(pace, r2=95, r4=160, r8=150, r16=340)
    assert worth(pace) == 62


def test_one_disturbed_forward_changes_nothing() -> None:
    pace = Pace()
    shown(pace, r2=100, r4=101)
    pace.note(4 * ROW, 0.001)
    assert worth(pace) == 2


def test_a_slow_first_forward_of_a_new_size_decides_nothing() -> None:
    pace = Pace()
    shown(pace, r2=100)
    pace.note(4 * ROW, 1.0)
    assert worth(pace) == 6
    shown(pace, r4=190)
    assert worth(pace) == 14


def test_what_was_measured_long_ago_is_tried_again() -> None:
    clock = Clock()
    pace = Pace(clock)
    shown(pace, r2=100, r4=101)
    clock.now = 290.0
    shown(pace, r2=100)
    assert worth(pace) == 2
    clock.now = 310.0
    assert worth(pace) == 6


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_a_clock_without_resolution_does_no_harm(seconds: float) -> None:
    pace = Pace()
    pace.note(ROW, seconds)
    assert pace.is_worth(ROW, ROW)
