"""What a running generation shows and is told: progress, previews, interrupt, skip, cancel."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .plan import VaeMethod

#: What a preview shows: the picture as it is guided, or one of the halves that guide it.
PreviewContent = Literal["Combined", "Prompt", "Negative prompt"]
ONLY_FINISHED = -1
"""In place of a number of steps between previews: only batches that are done are shown."""


class Cancelled(RuntimeError):
    """Nobody waits for the job's pictures any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A look at the predicted picture: uint8 [N,H,W,3], and the count of previews so far."""

    number: int
    pixels: "NDArray[np.uint8]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A consistent reading of a `Watch`. `started` is a `time.monotonic()` or None before it.

    `batch` is the one under way (from 0), `passes` those of a batch; `done` counts all passes that
    have ended, as if those of earlier plans had been like those of this one. `plans` is how many
    the job carries out, as far as is known; `share` is done of all of them, from 0 to 1.
    """

    plans: int
    share: float
    batch: int
    batch_count: int
    passes: int
    done: int
    step: int
    steps: int
    interrupted: bool
    skipped: bool
    started: float | None


class Watch:
    """The only object that a generation, the engine and the server share while a job runs.

    The device thread writes progress and previews; any thread reads them and may ask to stop.
    """

    def __init__(
        self, *, batch_count: int = 0, steps: int = 1, preview_every: int = 0, passes: int = 1
    ) -> None:
        """Watch batches of `passes` passes; previews as in `begin_plan`."""
        self._lock = threading.Lock()
        self._batch_count = batch_count
        self._passes = passes
        self._plans = 1
        self._begun = 0
        self._earlier = 0
        self._done = 0
        self._step = 0
        self._steps = steps
        self._preview_every = preview_every
        self._preview_method: VaeMethod = "Approx NN"
        self._preview_content: PreviewContent = "Combined"
        self._preview_wanted = False
        self._preview_step = 0
        self._preview: Preview | None = None
        self._interrupted = False
        self._skipped = False
        self._cancelled = False
        self._started: float | None = None
        self._tell: Callable[[], None] | None = None
        self._tell_shown: Callable[[], None] | None = None
        #: the newest denoised latents of the batch under way: owned by the device thread
        self.denoised: Any = None
        #: what a preview is drawn of: them, or what they were guided by
        self.looked_at: Any = None

    def interrupt(self) -> None:
        """Stop at the next step and keep what is there."""
        with self._lock:
            self._interrupted = True

    def skip(self) -> None:
        """Stop this batch at the next step, keep what is there and go on with the next batch."""
        with self._lock:
            self._skipped = True

    def cancel(self) -> None:
        """Drop the job at the next step; nobody waits for its pictures."""
        with self._lock:
            self._cancelled = True

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the pictures any more."""
        return self._cancelled

    @property
    def interrupted(self) -> bool:
        """Whether the job was told to stop."""
        return self._interrupted

    @property
    def stopping(self) -> bool:
        """Whether the batch under way should end now."""
        return self._interrupted or self._skipped

    def expect_plans(self, count: int) -> None:
        """The job will carry out `count` plans, one after another."""
        with self._lock:
            self._plans = max(count, 1)

    def begin_plan(
        self,
        *,
        batch_count: int,
        passes: int,
        steps: int,
        preview_every: int,
        preview_method: "VaeMethod" = "Approx NN",
        preview_content: PreviewContent = "Combined",
    ) -> None:
        """A plan of these numbers comes next; those before it count as done.

        `preview_every` steps a preview is drawn by `preview_method` (0: none, or `ONLY_FINISHED`)
        of `preview_content`.
        """
        with self._lock:
            self._earlier += self._batch_count if self._begun else 0
            self._begun += 1
            self._plans = max(self._plans, self._begun)
            self._batch_count, self._done, self._step = batch_count, 0, 0
            self._passes, self._steps, self._preview_every = passes, steps, preview_every
            self._preview_method, self._preview_content = preview_method, preview_content

    def when_begun(self, tell: Callable[[], None]) -> None:
        """Have `tell` called once, from the device thread, when the engine takes the job up."""
        with self._lock:
            self._tell = tell

    def begin(self) -> None:
        """The engine has taken the job up."""
        with self._lock:
            self._started = self._started or time.monotonic()
            tell, self._tell = self._tell, None
        if tell is not None:
            tell()

    def end(self) -> None:
        """The job is over: what it has shown is dropped, its numbers stay."""
        with self._lock:
            self._preview, self._preview_wanted = None, False
            self._tell = None
        self._latents_are_gone()

    def begin_batch(self, index: int) -> None:
        """Batch `index` starts; a skip of the one before is done with."""
        with self._lock:
            self._skipped, self._done = False, index * self._passes
            self._step, self._preview_step = 0, 0
        self._latents_are_gone()

    def begin_pass(self, steps: int) -> None:
        """A pass of `steps` steps starts."""
        with self._lock:
            self._step, self._steps, self._preview_step = 0, steps, 0
        self._latents_are_gone()

    def end_pass(self) -> None:
        """The pass under way is done."""
        with self._lock:
            self._done += 1
            self._step = 0

    def stepped(self, step: int, denoised: Any, looked_at: Any = None) -> None:
        """Sampling step `step` (from 1) has predicted the latents `denoised`.

        A preview is drawn of them unless something else is to be `looked_at`.
        """
        with self._lock:
            self._step = min(step, self._steps)
            self.denoised = denoised
            self.looked_at = denoised if looked_at is None else looked_at

    def progress(self) -> Progress:
        """How far the job is."""
        with self._lock:
            begun = max(self._begun, 1)
            passes = max(self._batch_count * self._passes, 1)
            of_plan = (self._done + self._step / max(self._steps, 1)) / passes
            return Progress(
                plans=self._plans,
                share=(begun - 1 + min(of_plan, 1.0)) / self._plans,
                batch=self._earlier + self._done // self._passes,
                batch_count=self._earlier + self._batch_count * (self._plans - begun + 1),
                passes=self._passes,
                done=self._earlier * self._passes + self._done,
                step=self._step,
                steps=self._steps,
                interrupted=self._interrupted,
                skipped=self._skipped,
                started=self._started,
            )

    @property
    def preview(self) -> Preview | None:
        """The newest preview; looking at it draws no other."""
        return self._preview

    def want_preview(self) -> Preview | None:
        """The newest preview; asking is what makes the engine draw the next one."""
        with self._lock:
            self._preview_wanted = True
            return self._preview

    def when_shown(self, tell: Callable[[], None]) -> None:
        """Have `tell` called once, from any thread: there is a preview, or none will be drawn now.

        It is to be called while `preview_due`.
        """
        with self._lock:
            due = self._preview_is_due()
            self._tell_shown = tell if due else None
        if not due:
            tell()

    def preview_due(self) -> bool:
        """Whether somebody looks and enough steps have passed since the last preview."""
        with self._lock:
            return self._preview_is_due()

    def _preview_is_due(self) -> bool:
        return (
            self._preview_wanted
            and self._preview_every > 0
            and self.denoised is not None
            and self._step - self._preview_step >= self._preview_every
        )

    @property
    def preview_content(self) -> PreviewContent:
        """What previews show."""
        return self._preview_content

    @property
    def preview_method(self) -> "VaeMethod":
        """How previews are drawn."""
        return self._preview_method

    def finished(self, pixels: "NDArray[np.uint8]") -> None:
        """The pictures of a batch, uint8 [N,H,W,3]; they are the preview where no other is."""
        if self._preview_every == ONLY_FINISHED:
            self.show(pixels)

    def show(self, pixels: "NDArray[np.uint8]") -> None:
        """Give the watchers a new preview."""
        with self._lock:
            number = self._preview.number + 1 if self._preview else 1
            self._preview = Preview(number=number, pixels=pixels)
        self.looked()

    def looked(self) -> None:
        """A preview was drawn, or could not be: the next one is due some steps later."""
        with self._lock:
            self._preview_step, self._preview_wanted = self._step, False
        self._tell_waiting()

    def _latents_are_gone(self) -> None:
        self.denoised = self.looked_at = None
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        with self._lock:
            tell, self._tell_shown = self._tell_shown, None
        if tell is not None:
            tell()
