"""The line of jobs: order, places, and what asking costs."""

from collections.abc import Iterator

import pytest

from pipelines.watch import Watch
from server.jobs import Job, JobQueue
from server.line import Line


def job(name: str) -> Job:
    return Job(id=name, kind="txt2img", watch=Watch())


def joined(line: Line, *names: str) -> list[Job]:
    jobs = [job(name) for name in names]
    for each in jobs:
        line.join(each)
    return jobs


def test_places_count_those_that_wait() -> None:
    line = Line()
    first, second, third = joined(line, "a", "b", "c")
    assert [line.place(each) for each in (first, second, third)] == [(1, 3), (2, 3), (3, 3)]
    first.watch.begin()
    assert line.place(first) is None
    assert [line.place(each) for each in (second, third)] == [(1, 2), (2, 2)]
    line.leave(second)
    assert line.place(third) == (1, 1)
    assert line.place(second) is None
    assert [each.id for each in line.waiting()] == ["c"]
    assert [each.id for each in line] == ["a", "c"]
    assert len(line) == 2


def test_the_first_is_the_oldest_that_runs() -> None:
    line = Line()
    assert line.first is None
    first, second, third = joined(line, "a", "b", "c")
    assert line.first is first
    third.watch.begin()
    assert line.first is third
    second.watch.begin()
    assert line.first is second
    line.leave(second)
    assert line.first is third
    line.leave(third)
    assert line.first is first
    line.leave(first)
    assert line.first is None


def test_of_one_id_the_newest_is_found() -> None:
    line = Line()
    first, second = joined(line, "a", "a")
    assert line.find("a") is second
    line.leave(second)
    assert line.find("a") is first
    line.leave(first)
    assert line.find("a") is None


def test_a_job_that_has_left_is_not_taken_up_again() -> None:
    line = Line()
    (gone,) = joined(line, "a")
    line.leave(gone)
    gone.watch.begin()
    assert line.first is None


class Counted(dict[int, Job]):
    """Jobs that count how often one of them is looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def __getitem__(self, number: int) -> Job:
        self.looks += 1
        return super().__getitem__(number)

    def __iter__(self) -> Iterator[int]:
        for number in super().__iter__():
            self.looks += 1
            yield number

    def _all(self) -> Iterator[Job]:
        self.looks += len(self)
        return iter(list(super().values()))

    def values(self) -> Iterator[Job]:  # type: ignore[override]
        return self._all()


@pytest.mark.parametrize("waiting", [1, 1000])
def test_a_poll_looks_at_one_job_however_many_wait(waiting: int) -> None:
    jobs = JobQueue(limit=0)
    counted = Counted()
    jobs._line._jobs = counted
    running = jobs.accept("txt2img", Watch(), "running", None)
    last = [jobs.accept("txt2img", Watch(), f"{i}", None) for i in range(waiting)][-1]
    running.watch.begin()
    counted.looks = 0
    assert jobs.current is running
    assert jobs.find(last.id) is last
    assert jobs.place(last) == (waiting, waiting)
    assert counted.looks == 1
