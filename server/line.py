"""Who waits and who runs, in order of arrival; asking costs the same however many there are."""

import threading
from bisect import bisect_left, insort
from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .jobs import Job


class Line:
    """The jobs that are waiting or running.

    It lives on the event loop; only the news that a job was taken up comes from another thread.
    """

    def __init__(self) -> None:
        """An empty line."""
        self._lock = threading.Lock()
        self._numbers = count()
        self._jobs: dict[int, Job] = {}
        self._named: dict[str, list[Job]] = {}
        #: numbers of arrival, ascending
        self._waiting: list[int] = []
        self._running: list[int] = []

    def __len__(self) -> int:
        """How many there are."""
        return len(self._jobs)

    def __iter__(self) -> "Iterator[Job]":
        """All, oldest first."""
        return iter(self._jobs.values())

    def join(self, job: "Job") -> None:
        """Put `job` at the end of the line."""
        job.number = next(self._numbers)
        with self._lock:
            self._jobs[job.number] = job
            self._named.setdefault(job.id, []).append(job)
            self._waiting.append(job.number)
        job.watch.when_begun(partial(self._begun, job))

    def leave(self, job: "Job") -> None:
        """Take `job` out: it is over."""
        with self._lock:
            del self._jobs[job.number]
            same = self._named[job.id]
            same.remove(job)
            if not same:
                del self._named[job.id]
            for numbers in (self._waiting, self._running):
                _drop(numbers, job.number)

    @property
    def first(self) -> "Job | None":
        """The oldest that runs, else the oldest."""
        with self._lock:
            numbers = self._running or self._waiting
            return self._jobs[numbers[0]] if numbers else None

    def find(self, job_id: str) -> "Job | None":
        """The newest job of that id."""
        same = self._named.get(job_id)
        return same[-1] if same else None

    def place(self, job: "Job") -> tuple[int, int] | None:
        """How many wait up to and with `job`, and how many in all; None where it runs."""
        with self._lock:
            index = bisect_left(self._waiting, job.number)
            if self._waiting[index : index + 1] != [job.number]:
                return None
            return index + 1, len(self._waiting)

    def waiting(self) -> "list[Job]":
        """Those that wait, oldest first."""
        with self._lock:
            return [self._jobs[number] for number in self._waiting]

    def _begun(self, job: "Job") -> None:
        with self._lock:
            if _drop(self._waiting, job.number):
                insort(self._running, job.number)


def _drop(numbers: list[int], number: int) -> bool:
    """Take `number` out of ascending numbers; whether it was there."""
    index = bisect_left(numbers, number)
    found = numbers[index : index + 1] == [number]
    if found:
        del numbers[index]
    return found
