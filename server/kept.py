"""Answers that are kept for clients that ask for them again, or later."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from fastapi import Response


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a job was answered with; any number of clients may be sent it."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @classmethod
    def of(cls, response: Response) -> Self:
        """What `response` would send."""
        return cls(
            status=response.status_code,
            body=bytes(response.body),
            headers=dict(response.headers),
        )

    def response(self, **more: str) -> Response:
        """A new answer of it, with `more` headers."""
        return Response(self.body, self.status, {**self.headers, **more})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    outcome: Outcome
    digest: str | None
    until: float


class Kept:
    """Outcomes by the id of their job: the newest ones, as long as they are few and small."""

    def __init__(
        self,
        *,
        count: int = 256,
        size: int = 256 * 2**20,
        seconds: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep at most `count` outcomes of `size` bytes in all, each for `seconds`.

        The newest is kept however large it is.
        """
        self._count, self._size, self._seconds, self._clock = count, size, seconds, clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._used = 0

    def put(self, job_id: str, outcome: Outcome, digest: str | None) -> None:
        """Keep the outcome of a job that was asked for with `digest`; an older one is forgotten."""
        if job_id in self._entries:
            self._drop(job_id)
        self._used += len(outcome.body)
        until = self._clock() + self._seconds
        self._entries[job_id] = _Entry(outcome=outcome, digest=digest, until=until)
        self._forget()

    def find(self, job_id: str) -> Outcome | None:
        """The outcome of that job, if it is still there."""
        self._forget()
        entry = self._entries.get(job_id)
        return None if entry is None else entry.outcome

    def same(self, job_id: str, digest: str) -> Outcome | None:
        """The outcome of that job if the same was asked for."""
        self._forget()
        entry = self._entries.get(job_id)
        return entry.outcome if entry is not None and entry.digest == digest else None

    def _forget(self) -> None:
        """Drop from the oldest on what is too old or too much; each is dropped once."""
        now = self._clock()
        while self._entries:
            job_id, oldest = next(iter(self._entries.items()))
            much = len(self._entries) > self._count or self._used > self._size
            if oldest.until > now and not (much and len(self._entries) > 1):
                return
            self._drop(job_id)

    def _drop(self, job_id: str) -> None:
        self._used -= len(self._entries.pop(job_id).outcome.body)
