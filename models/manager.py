"""Which checkpoints are loaded, lent out, and put away again."""

import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import structlog
import torch

from . import families
from .catalog import CheckpointInfo
from .choice import ModelChoice
from .embeddings.shelf import EmbeddingShelf
from .errors import CheckpointError
from .families import Checkpoint
from .families.sharing import Part, Stock
from .fitting import SIMPLY, Fitting
from .library import Library
from .memory import available, forget_frames, give_back
from .offload import Guest, Visits
from .precision import Formats, Precision
from .residence import Frugality, Keeping, Resident, Sparing, stored, weight_bytes
from .running import Running

log = structlog.get_logger(__name__)

#: left for what a generation needs beside the weights, in RAM and on a GPU
RESERVE = 1 << 30
RAM = torch.device("cpu")
WASTEFUL = Frugality()
FULL = Precision()


class CheckpointManager:
    """Keeps so many checkpoints as it is told and as memory has room for.

    The least recently used leave first; on a GPU those not in use may stay in RAM. Safe for several
    threads. Nothing that is borrowed is ever put away or fitted otherwise: a swap waits for the
    borrow to end, so a thread must not borrow a second time while it holds one.
    """

    def __init__(
        self,
        library: Library,
        embeddings: EmbeddingShelf,
        *,
        device: torch.device,
        precision: Precision = FULL,
        keeping: Callable[[], Keeping] = Keeping,
        frugality: Frugality = WASTEFUL,
        running: Running = SIMPLY,
    ) -> None:
        """Lend checkpoints on `device`; `keeping` is asked before each load."""
        self.device = device
        self._library = library
        self._embeddings = embeddings
        self._precision = precision
        self._running = running
        #: what UNets were moved to that overflowed, by file and state of it
        self._overflowed: dict[tuple[Path, object], torch.dtype] = {}
        self._keeping = keeping
        self._frugality = frugality
        self._resident: dict[Path, Resident] = {}
        self._count = itertools.count(1)
        self._changed = threading.Condition()
        # One thread at a time loads or moves weights; others may use what is on the device.
        self._busy = False
        self._foreseen: ModelChoice | None = None
        self._unloads = 0

    @contextmanager
    def borrow(self, choice: ModelChoice) -> Iterator[Checkpoint]:
        """Lend a checkpoint fitted as `choice` wants it, loading and hashing it where needed.

        Raises CheckpointNotFound, CorruptCheckpoint and UnsupportedCheckpoint; a failed load
        leaves what other borrowers hold as it is, and keeps no memory.
        """
        resident = self._take(choice)
        try:
            keeping = self._keeping()
            yield resident.fitting.fit(
                choice, networks_kept=keeping.networks, vae_retries=keeping.vae_retries
            )
        finally:
            with self._changed:
                resident.forget_changed()
                self._return(resident)

    def current(self) -> CheckpointInfo | None:
        """Return the checkpoint used last of those that are loaded."""
        latest = self._latest()
        return None if latest is None else latest.info

    def text_widths(self) -> tuple[int, ...] | None:
        """Return the widths of its text encoders; None while none is loaded."""
        latest = self._latest()
        return None if latest is None else latest.fitting.widths

    def loaded(self) -> tuple[CheckpointInfo, ...]:
        """Return what is loaded, on the device or in RAM, used last or not at all."""
        with self._changed:
            return tuple(each.info for each in self._by_use())

    def unload(self) -> None:
        """Free the memory: idle checkpoints now, borrowed ones as soon as they come back."""
        with self._changed:
            self._unloads += 1
            self._foreseen = None
            for resident in list(self._resident.values()):
                self._put_away(resident)
            self._changed.notify_all()

    def widen(self, choice: ModelChoice) -> torch.dtype | None:
        """Have a checkpoint's UNet, which overflowed as `choice` has it, run in a wider format.

        For good, and from the next borrow on, for which its file is read anew: those who hold it
        must give it back before they ask for it again. Gives the format; None where no wider one is
        left: then the format was not to blame, and if networks may be, the usual one is used again.
        """
        key = choice.checkpoint.path, choice.checkpoint.stamp
        with self._changed:
            resident = self._resident.get(choice.checkpoint.path)
            now = self._overflowed.get(key, self._precision.formats.unet)
            if resident is not None:
                now = resident.fitting.bare.dtype
            wider = self._precision.after(now)
            if wider is not None:
                self._overflowed[key] = wider
            elif not choice.networks or self._overflowed.pop(key, None) is None:
                return None
            if resident is not None:
                self._put_away(resident)
            self._changed.notify_all()
        if wider is not None:
            name = choice.checkpoint.title
            log.warning("the UNet overflowed", name=name, now_runs_in=str(wider))
        return wider

    def foresee(self, choice: ModelChoice) -> None:
        """Begin to read the checkpoint that is wanted next, beside the one in use; returns at once.

        Only where so many may be loaded and memory has room; on a GPU that keeps the idle ones in
        RAM it comes in its turn. What is wrong with it is for the borrow to tell.
        """
        with self._changed:
            known = self._foreseen is not None and self._foreseen.key == choice.key
            if known or self._busy or choice.checkpoint.path in self._resident:
                return
            held = sum(each.borrows > 0 for each in self._resident.values())
            if held >= max(1, self._keeping().limit) or self._parks():
                return
            self._foreseen, self._busy = choice, True
        threading.Thread(target=self._prefetch, args=(choice,), name="loader", daemon=True).start()

    def _put_away(self, resident: Resident) -> None:
        """Drop it: now, or as soon as it comes back."""
        resident.leaving = True
        if resident.borrows == 0:
            self._drop(resident)

    def _prefetch(self, choice: ModelChoice) -> None:
        resident, unloads = None, self._unloads
        try:
            formats = self._formats(choice.checkpoint)
            if weight_bytes(choice.checkpoint, formats.unet) + RESERVE < available(self.device):
                resident = self._load(choice)
        except (CheckpointError, OSError, RuntimeError, MemoryError) as error:
            log.info("not loaded ahead", name=choice.checkpoint.name, reason=repr(error))
        finally:
            with self._changed:
                self._busy = False
                if resident is not None and self._unloads == unloads:
                    self._resident[choice.checkpoint.path] = resident
                self._changed.notify_all()

    def _take(self, choice: ModelChoice) -> Resident:
        with self._changed:
            while self._must_wait(choice):
                self._changed.wait()
            resident = self._resident.get(choice.checkpoint.path)
            if resident is not None:
                self._lend(resident, choice)
                if not resident.away:
                    return resident
            self._busy = True
        try:
            if resident is not None:
                self._fetch(resident)
                return resident
            resident = self._load(choice)
            with self._changed:
                self._resident[choice.checkpoint.path] = resident
                self._lend(resident, choice)
            return resident
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _must_wait(self, choice: ModelChoice) -> bool:
        """Whether another load is under way, or somebody holds it as another choice wants it.

        One whose file was written anew since is put away first.
        """
        resident = self._resident.get(choice.checkpoint.path)
        if resident is not None and _replaced(resident.info, choice.checkpoint):
            resident.leaving = True
            if resident.borrows == 0 and not self._busy:
                self._drop(resident)
                resident = None
            else:
                return True
        if resident is None or resident.away:
            return self._busy
        return resident.borrows > 0 and resident.choice.key != choice.key

    def _lend(self, resident: Resident, choice: ModelChoice) -> None:
        resident.borrows += 1
        resident.choice = choice
        resident.used = next(self._count)
        if self._foreseen is not None and self._foreseen.checkpoint.path == resident.info.path:
            self._foreseen = None

    def _return(self, resident: Resident) -> None:
        resident.borrows -= 1
        if resident.leaving and resident.borrows == 0:
            self._drop(resident)
        self._changed.notify_all()

    def _load(self, choice: ModelChoice) -> Resident:
        """Load a checkpoint that is not resident; one thread at a time is let in here."""
        info = choice.checkpoint
        # Refused before anything is put away for it, where the header alone shows the fault.
        families.check(info)
        hashed = self._library.checkpoints.hash(info)
        formats = self._formats(info)
        stock = self._make_room(weight_bytes(info, formats.unet))
        started, done = time.perf_counter(), False
        try:
            checkpoint, visits = self._read(hashed, formats, stock)
            done = True
        finally:
            stock.parts.clear()
            if not done:
                forget_frames(sys.exception())
                give_back(self.device)
        seconds = round(time.perf_counter() - started, 2)
        log.info("checkpoint loaded", name=hashed.title, family=checkpoint.family, seconds=seconds)
        return self._settle(checkpoint, choice, visits)

    def _formats(self, info: CheckpointInfo) -> Formats:
        """How its weights are to be held. Raises CheckpointNotFound and CorruptCheckpoint."""
        unet, vae = stored(info) if self._precision.keeps_bfloat16 else (None, None)
        overflowed = self._overflowed.get((info.path, info.stamp))
        return self._precision.of(unet=unet, vae=vae, overflowed=overflowed)

    @torch.inference_mode(False)
    def _read(
        self, info: CheckpointInfo, formats: Formats, stock: Stock
    ) -> tuple[Checkpoint, Visits | None]:
        spared: Sparing = "nothing"
        if self.device.type != "cpu":
            spared = self._frugality.of(info)
        home = self.device if spared == "nothing" else RAM
        checkpoint = families.load(
            info,
            device=home,
            formats=formats,
            allow_pickle=self._library.checkpoints.allow_pickle,
            stock=stock,
        )
        if spared == "nothing":
            return checkpoint, None
        visits = Visits(self.device, in_blocks=spared == "blocks")
        visits.add(checkpoint.unet, blocks=True)
        for part in _parts(checkpoint):
            visits.add(part)
        traits = replace(checkpoint.traits, device=self.device)
        return replace(checkpoint, traits=traits), visits

    def _settle(
        self, checkpoint: Checkpoint, choice: ModelChoice, visits: Visits | None
    ) -> Resident:
        """Make a resident of what was loaded."""
        parts = {module: Part.of(module) for module in _parts(checkpoint)}
        fitting = Fitting(
            checkpoint,
            self._embeddings,
            vae_dtype=self._precision.formats.vae,
            allow_pickle=self._library.checkpoints.allow_pickle,
            visits=visits,
            running=self._running,
        )
        resident = Resident(fitting=fitting, choice=choice, parts=parts)
        if self.device.type != "cpu" and visits is None:
            modules = (checkpoint.unet, *_parts(checkpoint))
            resident.guests = tuple(Guest(each, self.device, at_home=False) for each in modules)
        return resident

    def _make_room(self, wanted: int) -> Stock:
        """Put away what is over the limit or in the way of `wanted` more bytes.

        Waits for a borrow to end where nothing else can go. Returns what may be shared with those
        that stay and those that went.
        """
        stock = Stock()
        with self._changed:
            while len(self._resident) >= max(1, self._keeping().limit):
                idle = self._idle()
                if idle is None:
                    self._changed.wait()
                else:
                    stock.parts.extend(idle.parts.values())
                    self._drop(idle)
            stock.parts.extend(part for each in self._by_use() for part in each.parts.values())
        self._park_others(None)
        place = RAM if self._frugality.any_model != "nothing" else self.device
        while available(place) < wanted + RESERVE:
            with self._changed:
                idle = self._idle()
                if idle is None:
                    break
                stock.parts.clear()
                self._drop(idle)
        return stock

    def _parks(self) -> bool:
        """Whether those not in use are to be in RAM while the one in use is on a GPU."""
        return self.device.type != "cpu" and self._keeping().in_ram

    def _park_others(self, wanted: Resident | None) -> None:
        """Send the others home to RAM; waits until they are idle."""
        if not self._parks():
            return
        with self._changed:
            others = [each for each in self._resident.values() if each is not wanted]
            others = [each for each in others if each.guests and not each.away]
            while any(each.borrows for each in others):
                self._changed.wait()
            others = [each for each in others if not each.leaving]
            for each in others:
                each.away, each.borrows = True, 1
        try:
            for each in others:
                each.send_home()
        finally:
            with self._changed:
                for each in others:
                    self._return(each)
        if others:
            give_back(self.device)

    def _fetch(self, resident: Resident) -> None:
        """Bring one that is lent already back from RAM."""
        done = False
        try:
            self._park_others(resident)
            resident.fetch()
            done = True
        finally:
            with self._changed:
                resident.away = not done
                if not done:
                    self._return(resident)

    def _latest(self) -> Resident | None:
        with self._changed:
            used = [each for each in self._by_use() if each.used]
            return used[-1] if used else None

    def _by_use(self) -> list[Resident]:
        return sorted(self._resident.values(), key=lambda each: each.used)

    def _idle(self) -> Resident | None:
        """The least recently used that nobody holds."""
        return next((each for each in self._by_use() if each.borrows == 0), None)

    def _drop(self, resident: Resident) -> None:
        del self._resident[resident.info.path]
        log.info("checkpoint unloaded", name=resident.info.title)
        resident.parts, resident.guests = {}, ()
        del resident.fitting
        give_back(self.device)


def _parts(checkpoint: Checkpoint) -> tuple[torch.nn.Module, ...]:
    """What other checkpoints may have too: autoencoder and text encoders."""
    return checkpoint.vae, *(encoder.module for encoder in checkpoint.encoders)


def _replaced(known: CheckpointInfo, wanted: CheckpointInfo) -> bool:
    """Whether the file was written since it was loaded."""
    return None not in (known.stamp, wanted.stamp) and known.stamp != wanted.stamp
