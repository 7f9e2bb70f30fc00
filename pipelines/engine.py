"""Runs generations: owns the device thread, and batches what they ask for.

Each turn it carries out the pending step of every running job. `Predict` rows that agree in
latent size and context length go through the UNet together, whatever their samplers, steps or time
steps, so a new job joins at the next step and never waits for the last one of another.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.catalog import CheckpointInfo
from models.errors import NansException
from models.manager import CheckpointManager

from . import conditioning, preview
from .forward import predict_rows
from .generate import GeneratedImage, txt2img
from .pixels import from_bytes, to_bytes
from .plan import Txt2ImgPlan
from .steps import Decode, Encode, EncodeImage, Predict, Step, Stepping
from .watch import Watch

if TYPE_CHECKING:
    from models.families.base import Checkpoint

log = structlog.get_logger(__name__)

Images = list[GeneratedImage]
_GONE = "the client has gone"
_STOPPING = "the server is stopping"


class Cancelled(RuntimeError):
    """Nobody waits for the job's pictures any more."""


class EngineClosed(RuntimeError):
    """The engine was closed before the job was done."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Order:
    """A job as it waits for admission; without a plan it only loads the checkpoint."""

    checkpoint: CheckpointInfo
    plan: Txt2ImgPlan | None
    watch: Watch
    future: "Future[Images]"


class _Run:
    """A job under way: its generation, the step it waits on, and the borrowed checkpoint."""

    def __init__(self, order: _Order) -> None:
        self.order = order
        self.checkpoint: Checkpoint
        self.pending: Step | None = None
        self._borrowed = ExitStack()
        self._generation: Stepping[Images] | None = None

    def start(self, checkpoints: CheckpointManager) -> None:
        """Borrow the checkpoint and take the first step."""
        self.order.watch.begin()
        self.checkpoint = self._borrowed.enter_context(checkpoints.borrow(self.order.checkpoint))
        if self.order.plan is None:
            self._end()
            self.order.future.set_result([])
            return
        self._generation = txt2img(self.order.plan, self.checkpoint, self.order.watch)
        self.advance(None)

    def advance(self, answer: Any) -> None:
        """Give the generation its answer and take the next step; ends the job at its return."""
        assert self._generation is not None
        try:
            self.pending = self._generation.send(answer)
        except StopIteration as end:
            self._end()
            self.order.future.set_result(end.value)

    def fail(self, error: Exception) -> None:
        """End the job with `error`."""
        if self._generation is not None:
            self._generation.close()
        self._end()
        self.order.future.set_exception(error)

    def _end(self) -> None:
        self.pending = None
        self.order.watch.denoised = None
        self._borrowed.close()


class Engine:
    """Carries out plans on the device, as many at once as share a checkpoint."""

    def __init__(self, checkpoints: CheckpointManager, *, max_rows: int = 16) -> None:
        """Start the device thread; a forward takes at most `max_rows` rows of latents."""
        self._checkpoints = checkpoints
        self._max_rows = max_rows
        self._inbox: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._waiting: deque[_Order] = deque()
        self._runs: list[_Run] = []
        self._closing = False
        self._door = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="device", daemon=True)
        self._thread.start()

    def submit(self, plan: Txt2ImgPlan, watch: Watch) -> "Future[Images]":
        """Queue a plan; the future gives its pictures, or the error that ended it."""
        return self._put(plan.checkpoint, plan, watch)

    def load(self, checkpoint: CheckpointInfo) -> "Future[Images]":
        """Queue the loading of a checkpoint; the future gives no pictures, or the error."""
        return self._put(checkpoint, None, Watch(batch_count=0, steps=0))

    def close(self) -> None:
        """Fail what is running and waiting with `EngineClosed`, and end the device thread."""
        with self._door:
            self._closed = True
            self._inbox.put(None)
        self._thread.join()

    def _put(
        self, checkpoint: CheckpointInfo, plan: Txt2ImgPlan | None, watch: Watch
    ) -> "Future[Images]":
        order = _Order(checkpoint=checkpoint, plan=plan, watch=watch, future=Future())
        # from here on only the engine ends it: whoever gives up waiting cancels the watch
        order.future.set_running_or_notify_cancel()
        with self._door:
            if self._closed:
                order.future.set_exception(EngineClosed(_STOPPING))
            else:
                self._inbox.put(order)
        return order.future

    @torch.inference_mode()
    def _loop(self) -> None:
        while not self._closing:
            self._collect()
            self._admit()
            self._drop_cancelled()
            self._turn()
            self._runs = [run for run in self._runs if run.pending is not None]
        for run in self._runs:
            run.fail(EngineClosed(_STOPPING))
        for order in self._waiting:
            order.future.set_exception(EngineClosed(_STOPPING))

    def _collect(self) -> None:
        """Take what was submitted; sleep when there is nothing else to do."""
        block = not self._runs and not self._waiting
        while True:
            try:
                order = self._inbox.get(block=block)
            except queue.Empty:
                return
            block = False
            if order is None:
                self._closing = True
            else:
                self._waiting.append(order)

    def _admit(self) -> None:
        """Take up waiting jobs in order, as long as they need the checkpoint that is in use.

        Strictly first come, first served: a job for another checkpoint waits for those before it
        and holds back those behind it, so none waits for ever.
        """
        while self._waiting:
            wanted = self._waiting[0].checkpoint.path
            if any(run.order.checkpoint.path != wanted for run in self._runs):
                return
            run = _Run(self._waiting.popleft())
            if not run.order.watch.cancelled:
                self._guarded(run, run.start, self._checkpoints)
                if run.pending is not None:
                    self._runs.append(run)
            else:
                run.fail(Cancelled(_GONE))

    def _drop_cancelled(self) -> None:
        """End what nobody waits for any more, running or waiting."""
        gone = [order for order in self._waiting if order.watch.cancelled]
        for order in gone:
            self._waiting.remove(order)
            order.future.set_exception(Cancelled(_GONE))
        for run in self._runs:
            if run.order.watch.cancelled:
                run.fail(Cancelled(_GONE))

    def _turn(self) -> None:
        """One step of every running job."""
        predicting: list[tuple[_Run, Predict]] = []
        for run in self._runs:
            if isinstance(run.pending, Predict):
                predicting.append((run, run.pending))
            elif run.pending is not None:
                self._guarded(run, self._carry_out, run, run.pending)
        if predicting:
            self._predict(predicting)
            for run, _ in predicting:
                if run.pending is not None and run.order.watch.preview_due():
                    self._preview(run)

    def _guarded(self, run: _Run, action: Callable[..., None], *arguments: Any) -> None:
        """Do `action`; an error ends this run and no other."""
        _, error = _attempt(action, *arguments)
        if error is not None:
            run.fail(error)

    def _carry_out(self, run: _Run, step: Encode | Decode | EncodeImage) -> None:
        if isinstance(step, Encode):
            run.advance(conditioning.encode(run.checkpoint, step))
        elif isinstance(step, EncodeImage):
            run.advance(run.checkpoint.encode_image(from_bytes(step.pixels)))
        else:
            run.advance(_pictures(run.checkpoint, step.latents))

    def _preview(self, run: _Run) -> None:
        """Show the newest latents; a look that fails is no reason to end the job."""
        watch = run.order.watch
        pixels, error = _attempt(preview.draw, run.checkpoint, watch.denoised)
        if error is not None:
            log.warning("preview failed", error=repr(error))
        else:
            watch.show(pixels)

    def _predict(self, predicting: Sequence[tuple[_Run, Predict]]) -> None:
        """Answer the rows of all runs; a forward that fails is tried again run by run."""
        checkpoint = predicting[0][0].checkpoint
        rows = [row for _, step in predicting for row in step.rows]
        answers, error = _attempt(predict_rows, checkpoint, rows, self._max_rows)
        if error is not None and len(predicting) > 1:
            log.warning("batch failed, trying its jobs one by one", error=repr(error))
            for run, step in predicting:
                self._predict([(run, step)])
        elif error is not None:
            predicting[0][0].fail(error)
        else:
            remaining = iter(answers)
            for run, step in predicting:
                self._guarded(run, run.advance, tuple(islice(remaining, len(step.rows))))


def _attempt(action: Callable[..., Any], *arguments: Any) -> tuple[Any, Exception | None]:
    """The result of `action`, or its error: whatever it is, it ends one job and no other."""
    try:
        return action(*arguments), None
    except Exception as error:  # noqa: BLE001  # the one broad except of this room
        return None, error


def _pictures(checkpoint: "Checkpoint", latents: Tensor) -> NDArray[np.uint8]:
    """Decode latents to uint8 [N,H,W,3]."""
    if not bool(torch.isfinite(latents).all()):
        raise NansException("UNet")
    return to_bytes(checkpoint.decode(latents))
