"""Runs generations: owns the device thread, and batches what they ask for.

Each turn it carries out the pending step of every running job. `Predict` rows that agree in
latent size and context length go through the UNet together, whatever their samplers, steps or time
steps, so a new job joins at the next step and never waits for the last one of another.

One model is in use at a time. A job that asks for another (`Use`) is put aside until all others
are done with the one in use, or wait as well; then the oldest gets what it asked for.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

from models.approx import ApproxVaes
from models.choice import ModelChoice
from models.errors import NansException
from models.manager import CheckpointManager

from . import conditioning, preview
from .approx import decode, encode
from .forward import predict_rows
from .generate import Generated, Parted, generation, loading
from .guided import Stopped
from .pixels import to_bytes
from .plan import Plan
from .run import Away, Order, Run
from .stage import Stage, whose_turn
from .steps import Decode, Encode, EncodeImage, Offload, Predict, Stepping
from .watch import Cancelled, Watch

if TYPE_CHECKING:
    from models.families.base import Checkpoint

log = structlog.get_logger(__name__)

#: with guidance an image is a row with its prompt and one without
_ROWS_AN_IMAGE = 2
_GONE = "the job was cancelled"
_STOPPING = "the server is stopping"
#: threads for work that jobs put off the device thread
_OFFLOAD_THREADS = 2
#: seconds between looks at who was told to stop, while all jobs wait for such work
_LOOK_S = 0.05


class EngineClosed(RuntimeError):
    """The engine was closed before the job was done."""


class Engine:
    """Carries out plans on the device, as many at once as share a model."""

    def __init__(
        self, checkpoints: CheckpointManager, approx: ApproxVaes, *, max_rows: int = 16
    ) -> None:
        """Start the device thread; a forward takes at most `max_rows` rows of latents."""
        self._approx = approx
        self._max_rows = max_rows
        self._inbox: queue.SimpleQueue[Order | Away | None] = queue.SimpleQueue()
        self._waiting: deque[Order] = deque()
        self._runs: list[Run] = []
        self._stage = Stage(checkpoints)
        self._closing = False
        self._door = threading.Lock()
        self._closed = False
        self._aside = ThreadPoolExecutor(_OFFLOAD_THREADS, thread_name_prefix="offload")
        self._thread = threading.Thread(target=self._loop, name="device", daemon=True)
        self._thread.start()

    def submit(self, plan: Plan, watch: Watch) -> "Future[Generated]":
        """Queue a plan; the future gives its pictures, or the error that ended it."""
        choice, begin = next(plan.batches()).model, partial(generation, plan, watch)
        return self._put(choice, plan.batch_size * _ROWS_AN_IMAGE, begin, watch)

    def load(self, choice: ModelChoice) -> "Future[Generated]":
        """Queue the loading of a model; the future gives no pictures, or the error."""
        return self._put(choice, 0, partial(loading, choice), Watch(batch_count=0, steps=0))

    def close(self) -> None:
        """Fail what is running and waiting with `EngineClosed`, and end the device thread."""
        with self._door:
            self._closed = True
            self._inbox.put(None)
        self._thread.join()
        self._aside.shutdown(wait=False, cancel_futures=True)

    def _put(
        self,
        choice: ModelChoice,
        rows: int,
        begin: Callable[[], Stepping[Generated]],
        watch: Watch,
    ) -> "Future[Generated]":
        order = Order(choice=choice, rows=rows, begin=begin, watch=watch, future=Future())
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
            self._stop_waiting()
            self._give_models()
            self._foresee()
            self._turn()
            self._runs = [run for run in self._runs if run.pending is not None]
            if not self._runs:
                self._stage.put_back()
        for run in self._runs:
            run.fail(EngineClosed(_STOPPING))
        for order in self._waiting:
            order.future.set_exception(EngineClosed(_STOPPING))
        self._stage.put_back()

    def _collect(self) -> None:
        """Take what was submitted and what was done elsewhere; sleep when nothing else can be."""
        block = all(run.away for run in self._runs) if self._runs else not self._waiting
        pause = _LOOK_S if self._runs else None
        while True:
            try:
                came = self._inbox.get(block, pause)
            except queue.Empty:
                return
            block = False
            if came is None:
                self._closing = True
            elif isinstance(came, Away):
                self._guarded(came.run, came.run.back, came)
            else:
                self._waiting.append(came)

    def _admit(self) -> None:
        """Take up waiting jobs in order, as long as they begin on the model that is in use.

        As many as fill a forward, no more: more would only make each of them slower. Strictly first
        come, first served: a job for another model waits for those before it and holds back those
        behind it, so none waits for ever.
        """
        while self._waiting:
            first = self._waiting[0]
            alive = [run for run in self._runs if run.pending is not None]
            waiting = any(run.wants is not None for run in alive)
            full = sum(run.rows for run in alive) + first.rows > self._max_rows
            other = not (self._stage.is_empty or self._stage.holds(first.choice))
            if alive and (full or waiting or other):
                return
            order = self._waiting.popleft()
            if order.watch.cancelled:
                order.future.set_exception(Cancelled(_GONE))
                continue
            run = Run(order)
            self._runs.append(run)
            self._guarded(run, run.start)
            self._give_models()

    def _give_models(self) -> None:
        """Let those go on that ask for the model in use; once all ask for another, get one.

        Being answered is no step of theirs: they take the next one in the turn that follows.
        """
        while True:
            for run in self._runs:
                while self._stage.holds(run.wants):
                    self._guarded(run, run.advance, self._stage.checkpoint.traits)
            oldest = whose_turn(self._runs)
            if oldest is None:
                return
            assert oldest.wants is not None
            self._guarded(oldest, self._stage.get, oldest.wants)

    def _foresee(self) -> None:
        """Have the model read that is wanted next, while others go on with the one in use."""
        wanted = [run.wants for run in self._runs if run.pending is not None and run.wants]
        wanted += [order.choice for order in islice(self._waiting, 1)]
        ahead = next((choice for choice in wanted if not self._stage.holds(choice)), None)
        if ahead is not None and self._runs:
            self._stage.foresee(ahead)

    def _drop_cancelled(self) -> None:
        """End what nobody waits for any more, running or waiting."""
        gone = [order for order in self._waiting if order.watch.cancelled]
        for order in gone:
            self._waiting.remove(order)
            order.future.set_exception(Cancelled(_GONE))
        for run in self._runs:
            if run.pending is not None and run.watch.cancelled:
                run.fail(Cancelled(_GONE))

    def _stop_waiting(self) -> None:
        """End what was told to stop while it waits, with the pictures that it has."""
        stopped = [order for order in self._waiting if order.watch.interrupted]
        for order in stopped:
            self._waiting.remove(order)
            order.future.set_result(Generated())
        for run in self._runs:
            if run.wants is not None and run.watch.interrupted:
                # what there is of a batch is decoded by the model it was drawn by, or not at all
                reason = Stopped() if self._stage.holds(run.on) else Parted()
                self._guarded(run, run.stop, reason)

    def _turn(self) -> None:
        """One step of every running job."""
        predicting: list[tuple[Run, Predict]] = []
        for run in self._runs:
            if isinstance(run.pending, Predict):
                predicting.append((run, run.pending))
            elif isinstance(run.pending, Encode | Decode | EncodeImage):
                self._guarded(run, self._carry_out, run, run.pending)
            elif isinstance(run.pending, Offload) and run.away is None:
                run.away = Away(run, self._aside.submit(run.pending.work))
                run.away.work.add_done_callback(partial(_tell, self._inbox, run.away))
        if predicting:
            self._predict(predicting)
            for run, _ in predicting:
                if run.pending is not None and run.watch.preview_due():
                    self._preview(run)

    def _guarded(self, run: Run, action: Callable[..., None], *arguments: Any) -> None:
        """Do `action`; an error ends this run and no other."""
        _, error = _attempt(action, *arguments)
        if error is not None:
            run.fail(error)

    def _carry_out(self, run: Run, step: Encode | Decode | EncodeImage) -> None:
        checkpoint = self._stage.checkpoint
        if isinstance(step, Encode):
            run.advance(conditioning.encode(checkpoint, step))
        elif isinstance(step, EncodeImage):
            run.advance(encode(checkpoint, step.pixels, step.method, self._approx))
        else:
            run.advance(_pictures(checkpoint, step, self._approx))

    def _preview(self, run: Run) -> None:
        """Show the newest latents; a look that fails is no reason to end the job."""
        watch = run.watch
        pixels, error = _attempt(
            preview.draw,
            self._stage.checkpoint,
            watch.looked_at,
            watch.preview_method,
            self._approx,
        )
        if error is not None:
            log.warning("preview failed", error=repr(error))
            watch.looked()
        else:
            watch.show(pixels)

    def _predict(self, predicting: Sequence[tuple[Run, Predict]]) -> None:
        """Answer the rows of all runs; a forward that fails is tried again run by run."""
        rows = [row for _, step in predicting for row in step.rows]
        answers, error = _attempt(predict_rows, self._stage.checkpoint, rows, self._max_rows)
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


def _tell(inbox: "queue.SimpleQueue[Any]", away: Away, _: "Future[Any]") -> None:
    inbox.put(away)


def _attempt(action: Callable[..., Any], *arguments: Any) -> tuple[Any, Exception | None]:
    """The result of `action`, or its error: whatever it is, it ends one job and no other."""
    try:
        return action(*arguments), None
    except Exception as error:  # noqa: BLE001  # the one broad except of this room
        return None, error


def _pictures(checkpoint: "Checkpoint", step: Decode, approx: ApproxVaes) -> NDArray[np.uint8]:
    """Decode latents to uint8 [N,H,W,3]."""
    if not bool(torch.isfinite(step.latents).all()):
        raise NansException("UNet", checkpoint.info.name)
    return to_bytes(decode(checkpoint, step.latents, step.method, approx))
