"""Jobs: who waits, who runs, how far they are, and how a client stops them. Torch-free."""

import asyncio
import random
import string
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
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

from .logging import job_bound

if TYPE_CHECKING:
    from pipelines.generate import Generated

log = structlog.get_logger(__name__)

#: the ids of this many finished jobs are remembered
_REMEMBERED = 16
_ID_LETTERS = string.ascii_uppercase + string.digits


class QueueFull(Exception):
    """As many jobs wait as may; the next one is to come back later."""

    def __init__(self, limit: int) -> None:
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


@dataclass(slots=True, eq=False)
class Job:
    """One generation request from its acceptance to its reply."""

    id: str
    kind: str
    watch: Watch
    accepted: float = field(default_factory=time.monotonic)
    #: local time of acceptance, as the wire's `job_timestamp`
    timestamp: str = field(default_factory=lambda: time.strftime("%Y%m%d%H%M%S"))

    @property
    def running(self) -> bool:
        """Whether the engine has taken it up."""
        return self.watch.progress().started is not None


class JobQueue:
    """The jobs that are waiting or running, in order of arrival; lives on the event loop.

    The device room comes up in the background: until `ready` is called, jobs wait.
    """

    def __init__(self, *, limit: int) -> None:
        """Accept at most `limit` jobs at a time (0: no bound)."""
        self._limit = limit
        self._jobs: list[Job] = []
        self._finished: deque[str] = deque(maxlen=_REMEMBERED)
        self._device: Device | None = None
        self._failure: Exception | None = None
        self._arrived = asyncio.Event()

    def ready(self, device: Device) -> None:
        """The device room is up."""
        self._device = device
        self._arrived.set()

    def failed(self, error: Exception) -> None:
        """The device room cannot come up; every job is answered with `error`."""
        self._failure = error
        self._arrived.set()

    def close(self) -> None:
        """Stop what runs and end the device thread."""
        for job in self._jobs:
            job.watch.cancel()
        if self._device is not None:
            self._device.close()

    @property
    def jobs(self) -> Sequence[Job]:
        """Waiting and running jobs, oldest first."""
        return tuple(self._jobs)

    @property
    def current(self) -> Job | None:
        """The job that clients mean who name none: the oldest that runs, else the oldest."""
        return next((job for job in self._jobs if job.running), next(iter(self._jobs), None))

    def find(self, job_id: str) -> Job | None:
        """The waiting or running job of that id."""
        return next((job for job in self._jobs if job.id == job_id), None)

    def was_finished(self, job_id: str) -> bool:
        """Whether a job of that id ended well not long ago."""
        return job_id in self._finished

    @asynccontextmanager
    async def accepted(self, kind: str, watch: Watch, wanted_id: str | None) -> AsyncIterator[Job]:
        """A job that counts as waiting or running while the block lasts. Raises `QueueFull`."""
        if self._limit and len(self._jobs) >= self._limit:
            raise QueueFull(self._limit)
        job = Job(id=wanted_id or _new_id(kind), kind=kind, watch=watch)
        self._jobs.append(job)
        with job_bound(job.id):
            try:
                yield job
                self._finished.append(job.id)
            finally:
                self._jobs.remove(job)

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
