"""The model in use on the device, and whose turn it is to get another."""

import time
from collections.abc import Hashable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from models.choice import ModelChoice
from models.manager import CheckpointManager

from .run import Run

if TYPE_CHECKING:
    from models.families.base import Checkpoint


class Stage:
    """Holds at most one borrowed checkpoint, fitted as one choice wants it."""

    def __init__(self, checkpoints: CheckpointManager) -> None:
        """Borrow from `checkpoints`; nothing is held yet."""
        self._checkpoints = checkpoints
        self._choice: ModelChoice | None = None
        self._checkpoint: Checkpoint | None = None
        self._borrowed = ExitStack()
        self._latest: Hashable = None
        #: seconds that it took of late to get another model than the one before
        self.switch_s = 0.0

    @property
    def choice(self) -> ModelChoice:
        """What is in use; there must be something."""
        assert self._choice is not None, "a step came before the model it runs on"
        return self._choice

    @property
    def checkpoint(self) -> "Checkpoint":
        """The one in use; there must be one."""
        assert self._checkpoint is not None, "a step came before the model it runs on"
        return self._checkpoint

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in use: those there are have not come to their model yet."""
        return self._choice is None

    def holds(self, choice: ModelChoice | None) -> bool:
        """Whether `choice` is what is in use."""
        return choice is not None and self._choice is not None and self._choice.key == choice.key

    def get(self, choice: ModelChoice) -> None:
        """Bring `choice` onto the device in place of what is there; raises what loading raises."""
        self.put_back()
        start = time.monotonic()
        self._checkpoint = self._borrowed.enter_context(self._checkpoints.borrow(choice))
        self._choice = choice
        if self._latest != choice.key:
            self.switch_s = time.monotonic() - start
        self._latest = choice.key

    def widen(self) -> bool:
        """Have the UNet in use, which overflowed, run in a wider number format from now on.

        False where there is none. Raises what loading raises: it is read anew.
        """
        choice = self.choice
        if self._checkpoints.widen(choice) is None:
            return False
        self.get(choice)
        return True

    def foresee(self, choice: ModelChoice) -> None:
        """Have the checkpoint of `choice` read beside the one in use, if it may be; no waiting."""
        self._checkpoints.foresee(choice)

    def put_back(self) -> None:
        """Let go of what is in use; it stays loaded until another needs its place."""
        self._choice = self._checkpoint = None
        self._borrowed.close()


def whose_turn(runs: Sequence[Run]) -> Run | None:
    """Whose wish for a model is to be met: that of who waits longest, once nobody can go on.

    One that is away and has not come to its first model yet keeps none from theirs.
    """
    alive = [run for run in runs if run.pending is not None and (run.on or not run.away)]
    stuck = bool(alive) and all(run.wants is not None for run in alive)
    return min(alive, key=lambda run: run.since) if stuck else None
