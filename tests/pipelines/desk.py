"""An engine on toy checkpoints, its jobs, and what they come to alone."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from models.approx import ApproxVaes
from models.choice import ModelChoice
from models.errors import CorruptCheckpoint
from models.families.base import Checkpoint
from models.manager import CheckpointManager
from pipelines.engine import Engine
from pipelines.generate import Generated, GeneratedImage
from pipelines.plan import Plan
from pipelines.watch import Watch

from .made import watching
from .toy import ToyCheckpoint, label, plan, spec

SECONDS = 10
Images = list[GeneratedImage]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]
#: one forward a step, and many of them
SLOW = spec("Euler a", steps=8, eta=1.0)
CORRUPT = CorruptCheckpoint(Path("/bad"), "truncated")


class NoApprox:
    """Weights of cheap autoencoders that are absent."""

    def absent(self, _: Tensor, space: str) -> Tensor | None:
        return None

    taesd_decoded = taesd_encoded = network_decoded = absent


def no_approx() -> ApproxVaes:
    return cast(ApproxVaes, NoApprox())


class Steady:
    """Finds every load worth while, however long it takes."""

    def note(self, load: int, seconds: float) -> None:
        assert seconds >= 0

    def is_worth(self, load: int, least: int) -> bool:
        return load >= least


class ToyManager:
    """Lends one toy checkpoint at a time, and logs who took and brought back what.

    `before` is called with the label of each choice before it is lent, on the device thread.
    """

    def __init__(self, **checkpoints: ToyCheckpoint | Exception) -> None:
        self._checkpoints = checkpoints
        self._changed = threading.Condition()
        self.log: list[str] = []
        self.lent: list[str] = []
        self.foreseen: list[str] = []
        self.before: Callable[[str], None] = lambda wanted: None

    @contextmanager
    def borrow(self, wanted: ModelChoice) -> Iterator[Checkpoint]:
        name = label(wanted)
        self.before(name)
        found = self._checkpoints[wanted.checkpoint.name]
        if isinstance(found, Exception):
            raise found
        assert not self.lent, f"{name} beside {self.lent}, which is in use"
        self.lent.append(name)
        self.log.append(f"take {name}")
        try:
            yield found.lent()
        finally:
            with self._changed:
                self.lent.remove(name)
                self.log.append(f"return {name}")
                self._changed.notify_all()

    def foresee(self, wanted: ModelChoice) -> None:
        self.foreseen.append(label(wanted))

    def widen(self, wanted: ModelChoice) -> torch.dtype | None:
        """From the next time on it is lent in single precision, if it was not already."""
        toy = self.checkpoint(wanted.checkpoint.name)
        self.log.append(f"widen {label(wanted)}")
        if toy.dtype is torch.float32:
            return None
        toy.dtype = torch.float32
        return torch.float32

    def settled(self) -> list[str]:
        """The log once nothing is lent any more."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self.lent, timeout=10), self.log
            return list(self.log)

    def checkpoint(self, name: str) -> ToyCheckpoint:
        found = self._checkpoints[name]
        assert isinstance(found, ToyCheckpoint)
        return found

    def forget(self, name: str) -> None:
        """Hold a checkpoint no longer."""
        del self._checkpoints[name]

    def manager(self) -> CheckpointManager:
        """Itself, as the type that the engine asks for."""
        return cast(CheckpointManager, self)


@dataclass(eq=False)
class Job:
    """A plan that was submitted."""

    watch: Watch
    future: "Future[Generated]"

    def images(self) -> Images:
        return self.future.result(SECONDS).images

    def pixels(self) -> Pixels:
        return np.stack([image.pixels for image in self.images()])


@dataclass(eq=False)
class Desk:
    """An engine, and the order in which its jobs ended."""

    engine: Engine
    manager: ToyManager
    ended: list[str] = field(default_factory=list)

    def order(self, wanted: Plan, *, watch: Watch | None = None, every: int = 0) -> Job:
        """Submit a plan; it ends under its first prompt."""
        steps, count = wanted.sampler.steps, wanted.batch_count
        seen = watch or Watch(batch_count=count, steps=steps, preview_every=every)
        job = Job(seen, self.engine.submit(wanted, seen))
        job.future.add_done_callback(lambda _: self.ended.append(wanted.prompts[0]))
        return job


Open = Callable[..., Desk]


def alone(wanted: Plan, **checkpoints: ToyCheckpoint) -> Pixels:
    """The pictures of a plan that has an engine to itself."""
    lent = checkpoints or {wanted.model.checkpoint.name: ToyCheckpoint()}
    with closing(Engine(ToyManager(**lent).manager(), no_approx())) as engine:
        return Job(watching(wanted), engine.submit(wanted, watching(wanted))).pixels()


def drawn_by_turns(here: Desk, toy: ToyCheckpoint) -> None:
    """Job "a" of `toy`; on its way "b" and "d" of another checkpoint, and "c" of it in between."""
    jobs: list[Job] = []

    def more() -> None:
        for prompt, name in (("b", "other"), ("c", "toy"), ("d", "other")):
            jobs.append(here.order(plan(prompt, checkpoint=name)))

    toy.before = at(2, more)
    here.order(plan("a")).images()
    for job in jobs:
        job.images()


def same(found: Pixels, expected: Pixels) -> None:
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
    assert expected.std() > 5, "a flat picture proves nothing"


def as_pixels(latents: Tensor) -> Pixels:
    """The toy's pictures of latents."""
    values = ToyCheckpoint().decode(latents).permute(0, 2, 3, 1).numpy()
    return np.trunc(np.clip((values + 1) * 127.5, 0, 255)).astype(np.uint8)


def at(call: int, action: Callable[[], object]) -> Callable[[int], None]:
    """Do `action` on the device thread, within the `call`-th forward."""

    def before(now: int) -> None:
        if now == call:
            action()

    return before
