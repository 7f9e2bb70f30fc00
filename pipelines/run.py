"""A job on the engine: as it waits, and under way."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from models.choice import ModelChoice

from .admission import NOTHING, Demand
from .generate import Generated
from .steps import Predict, Step, Stepping, Use
from .watch import Watch


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Order:
    """A job as it waits for admission: the model it begins on, and what it asks of forwards.

    `came` is when, by `time.monotonic`.
    """

    choice: ModelChoice
    begin: Callable[[], Stepping[Generated]]
    watch: Watch
    future: "Future[Generated]"
    demand: Demand = NOTHING
    came: float = field(default_factory=time.monotonic)

    def waited(self) -> float:
        """Seconds since it came."""
        return time.monotonic() - self.came


@dataclass(frozen=True, slots=True, eq=False)
class Away:
    """Work of a job that is done on another thread, or was."""

    run: "Run"
    work: "Future[Any]"


class Run:
    """A job under way: its generation, and the step it waits on."""

    def __init__(self, order: Order) -> None:
        """Take up `order`; nothing happens before `start`."""
        self.watch = order.watch
        self.demand = order.demand
        self.pending: Step | None = None
        #: the model that it runs on, which may have made place for another since
        self.on: ModelChoice | None = None
        #: the work that it waits for, while others go on
        self.away: Away | None = None
        #: since when it waits on its step, by `time.monotonic`; for its first model since it came
        self.since = order.came
        #: the number format of the UNet that it runs on
        self.drawn_in: Any = None
        self._future = order.future
        self._begin = order.begin
        self._generation = order.begin()

    @property
    def wants(self) -> ModelChoice | None:
        """The model without which it cannot go on."""
        return self.pending.choice if isinstance(self.pending, Use) else None

    def waited(self) -> float:
        """Seconds that it has waited for its model, or on another step."""
        return time.monotonic() - self.since

    def start(self) -> None:
        """Take the first step."""
        self.watch.begin()
        self.advance(None)

    def begin_again(self) -> None:
        """Forget all that was drawn and take the first step anew."""
        self._generation.close()
        self._generation = self._begin()
        self.on = None
        self.advance(None)

    def advance(self, answer: Any) -> None:
        """Give the generation its answer and take the next step; ends the job at its return."""
        self.on = self.wants or self.on
        self._go_on(partial(self._generation.send, answer))

    def back(self, away: Away) -> None:
        """Go on with what came of the work; it is for nothing where the job has ended since."""
        if self.away is not away:
            return
        self.away = None
        error = away.work.exception()
        if error is None:
            self.advance(away.work.result())
        elif isinstance(error, Exception):
            self.stop(error)

    def stop(self, reason: Exception) -> None:
        """Raise `reason` in the generation in place of an answer; it goes on or ends."""
        self._go_on(partial(self._generation.throw, reason))

    def _go_on(self, go: Callable[[], Step]) -> None:
        try:
            self.pending = go()
            if self.on is not None:
                self.since = time.monotonic()
            if isinstance(self.pending, Predict):
                self.demand = _grown(self.demand, self.pending)
        except StopIteration as end:
            self._end()
            self._future.set_result(end.value)

    def fail(self, error: Exception) -> None:
        """End the job with `error`."""
        self._generation.close()
        self._end()
        self._future.set_exception(error)

    def _end(self) -> None:
        self.pending = self.away = None
        self.watch.denoised = self.watch.looked_at = None


def _grown(before: Demand, step: Predict) -> Demand:
    """What a job asks of forwards, by its newest step; some calls go without some of the rows."""
    height, width = step.rows[0].x.shape[-2:]
    found = Demand(rows=sum(len(row.x) for row in step.rows), pixels=int(height * width))
    return before if found.pixels == before.pixels and found.rows <= before.rows else found
