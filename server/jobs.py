"""Jobs: who waits, who runs, how far they are, and how a client stops them. Torch-free."""

import asyncio
import math
import random
import string
import sys
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from models.catalog import CheckpointInfo
from models.choice import ModelChoice
from models.embeddings.files import NewEmbedding
from models.embeddings.table import Shelved
from pipelines.plan import Plan
from pipelines.watch import Watch

from .kept import Kept, Outcome
from .line import Line
from .logging import job_bound

if TYPE_CHECKING:
    from pipelines.generate import Generated

log = structlog.get_logger(__name__)

#: of this many jobs that are over it is remembered how they ended
_REMEMBERED = 1024
_ID_LETTERS = string.ascii_uppercase + string.digits
#: seconds after which a refused client is told to come back, at most and while nothing is known
_LONGEST_PAUSE, _FIRST_PAUSE = 60, 5
#: so many jobs are looked back on to tell how long one takes
_MEASURED = 16


class QueueFull(Exception):
    """As many jobs wait as may; the next one is to come back after `retry_after` seconds.

    It is refused before anything is done for it, so that coming back does nothing twice.
    """

    def __init__(self, limit: int, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(f"the queue is full: {limit} jobs are waiting or running")


class Device(Protocol):
    """The device room as the queue sees it (`server.runtime` builds it)."""

    def submit(self, plan: Plan, watch: Watch) -> "Future[Generated]":
        """Queue a plan; the future gives its pictures."""

    def load(self, choice: ModelChoice) -> "Future[Generated]":
        """Load a model in its turn; the future ends when it is on the device."""

    def unload(self) -> None:
        """Free the device of the models that no job needs; blocks for as long as that takes."""

    def embeddings(self) -> Shelved:
        """Look at the folders of embeddings; blocks while files are read."""

    def create_embedding(self, wanted: NewEmbedding, checkpoint: CheckpointInfo) -> Path:
        """Write a new embedding for a checkpoint; blocks. Raises `BadCreation`."""

    def memory(self) -> dict[str, Any]:
        """The device's memory, in the wire's shape."""

    def close(self) -> None:
        """End the device thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A live preview as it is sent: its number, and base64 in a format."""

    number: int
    picture: bytes
    format: str


@dataclass(slots=True, eq=False)
class Job:
    """One request from its acceptance to its reply.

    `digest` stands for what was asked under an id of the client's, to know the same request again.
    `clients` are those that wait for the reply; a `detached` job needs none. `look` is the newest
    live preview, `looking` the one that polls wait for together.
    """

    id: str
    kind: str
    watch: Watch
    digest: str | None = None
    number: int = 0
    clients: int = 0
    detached: bool = False
    outcome: asyncio.Task[Outcome] | None = None
    look: Look | None = None
    looking: asyncio.Task[Look | None] | None = None
    accepted: float = field(default_factory=time.monotonic)
    #: local time of acceptance, as the wire's `job_timestamp`
    timestamp: str = field(default_factory=lambda: time.strftime("%Y%m%d%H%M%S"))

    @property
    def running(self) -> bool:
        """Whether the engine has taken it up."""
        return self.watch.progress().started is not None

    def leave(self) -> None:
        """A client waits no longer; without any, nobody wants the reply."""
        self.clients -= 1
        if self.clients < 1 and not self.detached:
            self.watch.cancel()


class JobQueue:
    """The jobs that are waiting or running, in order of arrival; lives on the event loop.

    The device room comes up in the background: until `ready` is called, jobs wait.
    """

    def __init__(self, *, limit: int) -> None:
        """Accept at most `limit` jobs at a time (0: no bound)."""
        self._limit = limit
        self._line = Line()
        self._ended: OrderedDict[str, str | None] = OrderedDict()
        self._seconds: deque[float] = deque(maxlen=_MEASURED)
        self._device: Device | None = None
        self._failure: Exception | None = None
        self._arrived = asyncio.Event()
        self.kept = Kept()
        #: the job that ended last; its numbers are told while none is there
        self.last: Job | None = None
        self._beside: set[asyncio.Task[None]] = set()

    def ready(self, device: Device) -> None:
        """The device room is up."""
        self._device = device
        self._arrived.set()

    def failed(self, error: Exception) -> None:
        """The device room cannot come up; every job is answered with `error`.

        One that is up stays in use, whatever failed since.
        """
        if self._device is None:
            self._failure = error
        self._arrived.set()

    def close(self) -> None:
        """Stop what runs and end the device thread."""
        for job in self._line:
            job.watch.cancel()
        for task in self._beside:
            task.cancel()
        if self._device is not None:
            self._device.close()

    @property
    def jobs(self) -> Sequence[Job]:
        """Waiting and running jobs, oldest first."""
        return tuple(self._line)

    @property
    def waiting(self) -> Sequence[Job]:
        """Those that the engine has not taken up, oldest first."""
        return self._line.waiting()

    @property
    def current(self) -> Job | None:
        """The job that clients mean who name none: the oldest that runs, else the oldest."""
        return self._line.first

    def find(self, job_id: str) -> Job | None:
        """The waiting or running job of that id; of several the newest."""
        return self._line.find(job_id)

    def place(self, job: Job) -> tuple[int, int] | None:
        """The place of `job` among those that wait, from 1, and their number; None if it runs."""
        return self._line.place(job)

    def was_finished(self, job_id: str) -> bool:
        """Whether a job of that id ended well not long ago."""
        return self._ended.get(job_id, "") is None

    def failure(self, job_id: str) -> str | None:
        """What ended a job of that id not long ago, if it did not end well."""
        return self._ended.get(job_id)

    def accept(self, kind: str, watch: Watch, wanted_id: str | None, digest: str | None) -> Job:
        """A job that counts as waiting or running until `end`. Raises `QueueFull`."""
        if self._limit and len(self._line) >= self._limit:
            raise QueueFull(self._limit, self._pause())
        job = Job(id=wanted_id or _new_id(kind), kind=kind, watch=watch, digest=digest)
        self._line.join(job)
        return job

    def end(self, job: Job, error: BaseException | None, outcome: Outcome | None = None) -> None:
        """`job` is over, by `error` or well; its outcome is kept for who may ask for it."""
        self._line.leave(job)
        job.watch.end()
        job.look = job.looking = job.outcome = None
        self.last = job
        self._seconds.append(time.monotonic() - job.accepted)
        self._ended.pop(job.id, None)
        self._ended[job.id] = None if error is None else str(error) or type(error).__name__
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)
        if outcome is not None and (job.detached or job.digest is not None):
            self.kept.put(job.id, outcome, job.digest)

    @asynccontextmanager
    async def accepted(self, kind: str, watch: Watch, wanted_id: str | None) -> AsyncIterator[Job]:
        """A job that counts as waiting or running while the block lasts. Raises `QueueFull`."""
        job = self.accept(kind, watch, wanted_id, None)
        well = False
        try:
            with job_bound(job.id):
                yield job
            well = True
        finally:
            self.end(job, None if well else sys.exception())

    def _pause(self) -> int:
        """Whole seconds that a job takes, by those that ended last."""
        if not self._seconds:
            return _FIRST_PAUSE
        taken = math.ceil(sum(self._seconds) / len(self._seconds))
        return min(max(taken, 1), _LONGEST_PAUSE)

    def beside(self, errand: Coroutine[Any, Any, None]) -> None:
        """Carry out what nobody waits for; it ends with the server."""
        task = asyncio.create_task(errand)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def run(self, job: Job, plan: Plan) -> "Generated":
        """The pictures of `plan`; raises what ended the job instead."""
        device = await self._get_device()
        log.info("job accepted", kind=job.kind, checkpoint=plan.model.checkpoint.name)
        pictures = asyncio.wrap_future(device.submit(plan, job.watch))
        await asyncio.wait([pictures])
        seconds = round(time.monotonic() - job.accepted, 2)
        if error := pictures.exception():
            log.warning("job failed", error=repr(error), seconds=seconds)
            raise error
        log.info("job done", images=len(pictures.result().images), seconds=seconds)
        return pictures.result()

    async def load(self, choice: ModelChoice) -> None:
        """Load a model in its turn; returns when it is on the device, raises why it is not."""
        device = await self._get_device()
        await asyncio.wrap_future(device.load(choice))

    async def unload(self) -> None:
        """Free the device; a model that jobs run on stays until they are done."""
        device = await self._get_device()
        await asyncio.to_thread(device.unload)

    async def embeddings(self) -> Shelved:
        """The embeddings of the folders as they are now, by what fits the model last used."""
        device = await self._get_device()
        return await asyncio.to_thread(device.embeddings)

    async def create_embedding(self, wanted: NewEmbedding, checkpoint: CheckpointInfo) -> Path:
        """Write a new embedding; the path of its file. Raises `BadCreation`, `CheckpointError`."""
        device = await self._get_device()
        return await asyncio.to_thread(device.create_embedding, wanted, checkpoint)

    def device_memory(self) -> dict[str, Any]:
        """The device's memory in the wire's shape, or why it is not known."""
        if self._device is None:
            return {"error": "the device is not ready yet"}
        return self._device.memory()

    async def _get_device(self) -> Device:
        await self._arrived.wait()
        if self._device is None:
            raise self._failure or RuntimeError("the device room is closed")
        return self._device


def _new_id(kind: str) -> str:
    return f"task({kind}-{''.join(random.choices(_ID_LETTERS, k=7))})"
