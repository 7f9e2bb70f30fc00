"""Which checkpoints are loaded, lent out, and put away again."""

import gc
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
import torch

from . import families
from .catalog import CheckpointInfo
from .choice import ModelChoice
from .embeddings.shelf import EmbeddingShelf
from .families import Checkpoint
from .fitting import Fitting
from .library import Library

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Resident:
    """A loaded checkpoint and its open borrows; `leaving` ones go when the last borrow ends."""

    fitting: Fitting
    choice: ModelChoice
    borrows: int = 0
    leaving: bool = False

    @property
    def info(self) -> CheckpointInfo:
        """Which checkpoint it is, hashed."""
        return self.fitting.bare.info


class CheckpointManager:
    """Keeps up to `limit` checkpoints on the device, the least recently used leaving first.

    Safe for several threads. Nothing that is borrowed is ever put away or fitted otherwise: a swap
    waits for the borrow to end, so a thread must not borrow a second time while it holds one.
    """

    def __init__(
        self,
        library: Library,
        embeddings: EmbeddingShelf,
        *,
        device: torch.device,
        dtype: torch.dtype,
        vae_dtype: torch.dtype,
        limit: int = 1,
    ) -> None:
        self.device = device
        self._library = library
        self._embeddings = embeddings
        self._dtype = dtype
        self._vae_dtype = vae_dtype
        self._limit = max(1, limit)
        self._resident: OrderedDict[Path, _Resident] = OrderedDict()
        self._loading = False
        self._changed = threading.Condition()

    @contextmanager
    def borrow(self, choice: ModelChoice) -> Iterator[Checkpoint]:
        """Lend a checkpoint fitted as `choice` wants it, loading and hashing it where needed.

        Raises CheckpointNotFound, CorruptCheckpoint and UnsupportedCheckpoint; a failed load
        leaves what other borrowers hold as it is.
        """
        resident = self._take(choice)
        try:
            yield resident.fitting.fit(choice)
        finally:
            with self._changed:
                resident.borrows -= 1
                if resident.leaving and resident.borrows == 0:
                    self._drop(resident)
                self._changed.notify_all()

    def current(self) -> CheckpointInfo | None:
        """Return the checkpoint used last of those that are loaded."""
        with self._changed:
            latest = next(reversed(self._resident.values()), None)
            return None if latest is None else latest.info

    def text_widths(self) -> tuple[int, ...] | None:
        """Return the widths of its text encoders; None while none is loaded."""
        with self._changed:
            latest = next(reversed(self._resident.values()), None)
            return None if latest is None else latest.fitting.widths

    def unload(self) -> None:
        """Free the device: idle checkpoints now, borrowed ones as soon as they come back."""
        with self._changed:
            for resident in list(self._resident.values()):
                resident.leaving = True
                if resident.borrows == 0:
                    self._drop(resident)
            self._changed.notify_all()

    def _take(self, choice: ModelChoice) -> _Resident:
        path = choice.checkpoint.path
        with self._changed:
            while self._must_wait(self._resident.get(path), choice):
                self._changed.wait()
            resident = self._resident.get(path)
            if resident is not None:
                resident.borrows += 1
                resident.choice = choice
                self._resident.move_to_end(path)
                return resident
            self._loading = True
        try:
            return self._load(choice)
        finally:
            with self._changed:
                self._loading = False
                self._changed.notify_all()

    def _must_wait(self, resident: _Resident | None, choice: ModelChoice) -> bool:
        """Whether another load is under way, or somebody holds it as another choice wants it."""
        if resident is None:
            return self._loading
        return resident.borrows > 0 and resident.choice.key != choice.key

    def _load(self, choice: ModelChoice) -> _Resident:
        """Load a checkpoint that is not resident; one thread at a time is let in here."""
        info = choice.checkpoint
        # Refused before anything is put away for it, where the header alone shows the fault.
        families.check(info)
        hashed = self._library.checkpoints.hash(info)
        with self._changed:
            self._make_room()
        started = time.perf_counter()
        checkpoint = families.load(
            hashed,
            device=self.device,
            dtype=self._dtype,
            vae_dtype=self._vae_dtype,
            allow_pickle=self._library.checkpoints.allow_pickle,
        )
        seconds = round(time.perf_counter() - started, 2)
        log.info("checkpoint loaded", name=hashed.title, family=checkpoint.family, seconds=seconds)
        fitting = Fitting(
            checkpoint,
            self._embeddings,
            vae_dtype=self._vae_dtype,
            allow_pickle=self._library.checkpoints.allow_pickle,
        )
        resident = _Resident(fitting=fitting, choice=choice, borrows=1)
        with self._changed:
            self._resident[info.path] = resident
        return resident

    def _make_room(self) -> None:
        while len(self._resident) >= self._limit:
            idle = next((r for r in self._resident.values() if r.borrows == 0), None)
            if idle is None:
                self._changed.wait()
            else:
                self._drop(idle)

    def _drop(self, resident: _Resident) -> None:
        del self._resident[resident.info.path]
        log.info("checkpoint unloaded", name=resident.info.title)
        # Modules hold reference cycles, so the memory would stay until some later collection.
        del resident.fitting
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
