"""Runs generations: owns the device thread, and batches what they ask for.

Each turn it carries out the pending step of every running job. `Predict` rows that agree in
latent size and context length go through the UNet together, whatever their samplers, steps or time
steps, so a new job joins at the next step and never waits for the last one of another. So do the
prompts that are to be encoded and the latents that are to be decoded. How many jobs run at once is
for `admission.py` to say.

One model is in use at a time. A job that asks for another (`Use`) is put aside until all others
are done with the one in use, or wait as well; then who has waited longest gets what it asked for.
A job may be passed by others for the model in use, but not for longer than a few changes of the
model take: then those that run make way between two batches.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import structlog
import torch

from models.approx import ApproxVaes
from models.choice import ModelChoice
from models.errors import is_overflow
from models.manager import CheckpointManager

from . import answers, preview
from .admission import NOTHING, Admission, Demand
from .apart import attempt
from .approx import encode
from .generate import Generated, Parted, generation, loading
from .guided import Stopped
from .noise import SCALE
from .plan import Plan
from .remembered import Remembered
from .run import Away, Order, Run
from .stage import Stage, whose_turn
from .steps import Decode, Encode, EncodeImage, Offload, Predict, Stepping, Use
from .watch import Cancelled, Watch

log = structlog.get_logger(__name__)

Wanted = TypeVar("Wanted", Predict, Encode, EncodeImage, Decode)
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
        self,
        checkpoints: CheckpointManager,
        approx: ApproxVaes,
        admission: Admission | None = None,
    ) -> None:
        """Start the device thread; `admission` says how many jobs run at once."""
        self._approx = approx
        self._admission = admission or Admission()
        self._remembered = Remembered()
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
        pixels = (plan.width // SCALE) * (plan.height // SCALE)
        demand = Demand(rows=plan.batch_size * _ROWS_AN_IMAGE, pixels=max(pixels, 1))
        return self._put(choice, demand, begin, watch)

    def load(self, choice: ModelChoice) -> "Future[Generated]":
        """Queue the loading of a model; the future gives no pictures, or the error."""
        watch = Watch(batch_count=0, steps=0)
        return self._put(choice, NOTHING, partial(loading, choice), watch)

    def forget(self) -> None:
        """Let go of what is remembered of prompts, which lies on the device."""
        self._remembered.forget()

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
        demand: Demand,
        begin: Callable[[], Stepping[Generated]],
        watch: Watch,
    ) -> "Future[Generated]":
        order = Order(choice=choice, begin=begin, watch=watch, future=Future(), demand=demand)
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
            self._in_turn()
            self._runs = self._alive()
            if not self._runs:
                self._stage.put_back()
        for run in self._runs:
            run.fail(EngineClosed(_STOPPING))
        for order in self._waiting:
            order.future.set_exception(EngineClosed(_STOPPING))
        self._stage.put_back()

    def _in_turn(self) -> None:
        """Take a turn; a fault that is nobody's own, as of the device, ends all that run."""
        for action in (self._turn, self._admission.settle):
            _, error = attempt(action)
            if error is not None:
                log.error("a turn failed", exc_info=error)
                for run in self._alive():
                    run.fail(error)

    def _alive(self) -> list[Run]:
        return [run for run in self._runs if run.pending is not None]

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
        """Take up waiting jobs, as long as they begin on the model in use and it pays."""
        while (order := self._next()) is not None:
            self._waiting.remove(order)
            if order.watch.cancelled:
                order.future.set_exception(Cancelled(_GONE))
            else:
                self._begin(order)
                self._give_models()

    def _next(self) -> Order | None:
        """The job to take up now: first come, first served among those for the model in use.

        Nobody is let in while one of those that run waits for another model. Jobs for another one
        are passed only until they are overdue.
        """
        alive = self._alive()
        if not alive:
            return self._waiting[0] if self._waiting else None
        if any(run.wants is not None for run in alive):
            return None
        running = [run.demand for run in alive]
        for order in self._waiting:
            if self._stage.is_empty or self._stage.holds(order.choice):
                fits = self._admission.lets_in(order.demand, running, order.waited())
                return order if fits else None
            if self._is_overdue(order):
                return None
        return None

    def _is_overdue(self, waiting: Order | Run) -> bool:
        """Whether it has waited for another model for longer than it may be passed."""
        return waiting.waited() >= self._admission.limits.switches * self._stage.switch_s

    def _begin(self, order: Order) -> None:
        run = Run(order)
        self._runs.append(run)
        self._guarded(run, run.start)

    def _give_models(self) -> None:
        """Let those go on that ask for the model in use; once all ask for another, get one.

        Being answered is no step of theirs: they take the next one in the turn that follows.
        """
        while True:
            for run in self._runs:
                while self._stage.holds(run.wants) and not self._makes_way(run):
                    self._hand(run)
            first = whose_turn(self._runs)
            if first is None or first.wants is None:
                return
            overdue = self._overdue()
            midway = any(not _is_between(run) for run in self._alive())
            if overdue is not None and not midway and overdue.came < first.since:
                self._waiting.remove(overdue)
                self._begin(overdue)
                continue
            if not self._stage.holds(first.wants):
                self._guarded(first, self._get, first.wants)
            if self._stage.holds(first.wants):
                self._hand(first)

    def _hand(self, run: Run) -> None:
        run.drawn_in = self._stage.checkpoint.dtype
        self._guarded(run, run.advance, self._stage.checkpoint.traits)

    def _get(self, choice: ModelChoice) -> None:
        self._stage.get(choice)
        self._admission.use(choice.checkpoint.path, self._stage.checkpoint.device)

    def _makes_way(self, run: Run) -> bool:
        """Whether it is between two batches, and somebody is overdue for another model."""
        if run.on is None or not _is_between(run):
            return False
        others = [
            each for each in self._alive() if each.wants and not self._stage.holds(each.wants)
        ]
        return self._overdue() is not None or any(self._is_overdue(each) for each in others)

    def _overdue(self) -> Order | None:
        """The first of those that wait for another model, where it has waited too long."""
        for order in self._waiting:
            if not self._stage.holds(order.choice):
                return order if self._is_overdue(order) else None
        return None

    def _foresee(self) -> None:
        """Have the model read that is wanted next, while others go on with the one in use."""
        wanted = [run.wants for run in self._alive() if run.wants]
        wanted += [order.choice for order in self._waiting]
        ahead = next((choice for choice in wanted if not self._stage.holds(choice)), None)
        if ahead is not None and self._runs:
            self._stage.foresee(ahead)

    def _drop_cancelled(self) -> None:
        """End what nobody waits for any more, running or waiting."""
        gone = [order for order in self._waiting if order.watch.cancelled]
        for order in gone:
            self._waiting.remove(order)
            order.future.set_exception(Cancelled(_GONE))
        for run in self._alive():
            if run.watch.cancelled:
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
        """One step of every running job; those of a kind are carried out together.

        Who has only now come to its first forward goes along at once.
        """
        for run in self._runs:
            if isinstance(run.pending, Offload) and run.away is None:
                run.away = Away(run, self._aside.submit(run.pending.work))
                run.away.work.add_done_callback(partial(_tell, self._inbox, run.away))
        self._decode()
        while self._prepare():
            pass
        predicting = self._asking(Predict)
        if predicting:
            steps = list(predicting.values())
            found = answers.predictions(self._stage.checkpoint, steps, self._admission)
            self._answer_all(predicting, found)
        for run in predicting:
            if run.pending is not None and run.watch.preview_due():
                self._preview(run)

    def _decode(self) -> None:
        """Make pictures of latents."""
        decoding = self._asking(Decode)
        if decoding:
            steps = list(decoding.values())
            found = answers.pictures(self._stage.checkpoint, steps, self._approx)
            for run, answer in zip(decoding, found, strict=True):
                if is_overflow(answer) and self._is_to_begin_again(run):
                    self._guarded(run, run.begin_again)
                else:
                    self._answer(run, answer)

    def _is_to_begin_again(self, run: Run) -> bool:
        """Whether a job whose UNet overflowed may go better in a wider number format."""
        if run.drawn_in is not self._stage.checkpoint.dtype:
            return True
        widened, error = attempt(self._stage.widen)
        if error is not None:
            log.error("the model could not be loaded anew", error=repr(error))
        return bool(widened)

    def _prepare(self) -> bool:
        """Encode prompts and pictures; whether there were any."""
        encoding, pictured = self._asking(Encode), self._asking(EncodeImage)
        if encoding:
            steps, model = list(encoding.values()), self._stage.choice.text_key
            checkpoint, known = self._stage.checkpoint, self._remembered
            self._answer_all(encoding, answers.conditionings(checkpoint, model, steps, known))
        for run, step in pictured.items():
            self._guarded(run, self._encode_image, run, step)
        return bool(encoding or pictured)

    def _asking(self, kind: type[Wanted]) -> dict[Run, Wanted]:
        """Who asks for a step of this kind."""
        return {run: run.pending for run in self._runs if isinstance(run.pending, kind)}

    def _answer_all(self, runs: Iterable[Run], found: Sequence[Any]) -> None:
        for run, answer in zip(runs, found, strict=True):
            self._answer(run, answer)

    def _answer(self, run: Run, answer: Any) -> None:
        if isinstance(answer, Exception):
            run.fail(answer)
        else:
            self._guarded(run, run.advance, answer)

    def _guarded(self, run: Run, action: Callable[..., None], *arguments: Any) -> None:
        """Do `action`; an error ends this run and no other."""
        _, error = attempt(action, *arguments)
        if error is not None:
            run.fail(error)

    def _encode_image(self, run: Run, step: EncodeImage) -> None:
        run.advance(encode(self._stage.checkpoint, step.pixels, step.method, self._approx))

    def _preview(self, run: Run) -> None:
        """Show the newest latents; a look that fails is no reason to end the job."""
        watch = run.watch
        pixels, error = attempt(
            preview.draw,
            self._stage.checkpoint,
            watch.looked_at,
            watch.preview_method,
            self._approx,
        )
        if pixels is None:
            log.warning("preview failed", error=repr(error))
            watch.looked()
        else:
            watch.show(pixels)


def _is_between(run: Run) -> bool:
    """Whether it asks for a model with no batch under way."""
    return isinstance(run.pending, Use) and run.pending.between


def _tell(inbox: "queue.SimpleQueue[Any]", away: Away, _: "Future[Any]") -> None:
    inbox.put(away)
