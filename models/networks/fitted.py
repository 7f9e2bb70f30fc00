"""Network files as one checkpoint can wear them, a bounded number kept in memory."""

import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog
import torch
from torch import Tensor, nn

from ..errors import CheckpointError
from ..folders import printable
from .changes import Change, Misfit, Parts, change_of, check, rows_of
from .files import NetworkInfo
from .names import Place
from .reading import NetworkFile, read_network

log = structlog.get_logger(__name__)

#: what networks that nothing wears may hold in memory, however many are to be kept
MAX_IDLE_BYTES = 2 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A file as it is on the disk; another size or time of change means another file."""

    path: Path
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """A file's changes that fit the checkpoint, its embeddings, and notes of what does not fit."""

    changes: Mapping[Place, Change]
    embeddings: Mapping[str, tuple[Tensor, ...]]
    notes: tuple[str, ...]
    nbytes: int


class Fitter:
    """Reads network files for one checkpoint, and keeps those used last."""

    def __init__(
        self, family: str, places: Mapping[str, tuple[Place, ...]], *, allow_pickle: bool
    ) -> None:
        """Fit files to `places`, modules by the spellings of their names."""
        self._family = family
        self._places = places
        self._allow_pickle = allow_pickle
        self._kept: OrderedDict[Version, Fitted] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """The memory that the files kept take."""
        return sum(each.nbytes for each in self._kept.values())

    def fit(self, info: NetworkInfo, version: Version | None) -> Fitted:
        """Read a file, or find it as it was read; one that cannot be read fits nothing."""
        if version is not None and version in self._kept:
            self._kept.move_to_end(version)
            return self._kept[version]
        try:
            file = read_network(
                info.path, allow_pickle=self._allow_pickle, wanted=self._places.__contains__
            )
        except CheckpointError as error:
            log.warning("network left out", path=printable(info.path), reason=error.reason)
            note = f"lora {info.name!r} left out: {error.reason}"
            return Fitted(changes={}, embeddings={}, notes=(note,), nbytes=0)
        fitted = self._sorted(info, file)
        if version is not None:
            self._kept[version] = fitted
        return fitted

    def drop(self, version: Version | None) -> None:
        """Let go of a file at once."""
        if version is not None:
            self._kept.pop(version, None)

    def forget(self, worn: set[Version], keep: int) -> None:
        """Let go of all files but those worn and, of the others, the `keep` used last."""
        idle = [version for version in self._kept if version not in worn]
        left = MAX_IDLE_BYTES
        for place, version in enumerate(reversed(idle)):
            left -= self._kept[version].nbytes
            if place >= keep or left < 0:
                del self._kept[version]

    def _sorted(self, info: NetworkInfo, file: NetworkFile) -> Fitted:
        """Keep what fits the checkpoint; say once what does not."""
        changes: dict[Place, Change] = {}
        misfits = [f"{name}: the model has no such module" for name in file.strangers]
        for target, parts in file.changes.items():
            found = self._places[target]
            try:
                each = (parts,) if len(found) == 1 else rows_of(parts, len(found))
                made = [_fitting(place, its) for place, its in zip(found, each, strict=True)]
            except Misfit as error:
                misfits.append(f"{found[0].name}: {error}")
            else:
                changes |= zip(found, made, strict=True)
        notes: tuple[str, ...] = ()
        if misfits or file.unknown:
            event = "network fits only in part" if changes else "network does not fit"
            log.warning(
                event,
                name=info.name,
                modules_changed=len(changes),
                modules_left_out=len(misfits),
                unknown_keys=len(file.unknown),
                first=(misfits or file.unknown)[0],
            )
        if misfits:
            count = f"{len(misfits)} of its {len(misfits) + len(changes)} modules do not fit"
            notes = (f"lora {info.name!r}: {count} this {self._family} model ({misfits[0]})",)
        nbytes = sum(part.nbytes for change in changes.values() for part in change.parts.values())
        return Fitted(changes=changes, embeddings=file.embeddings, notes=notes, nbytes=nbytes)


def version_of(path: Path) -> Version | None:
    """How the file is now; None where it has gone."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return Version(path=path, size=stat.st_size, mtime_ns=stat.st_mtime_ns)


def _fitting(place: Place, parts: Parts) -> Change:
    """The change that the parts make to a module. Raises Misfit."""
    change = change_of(parts)
    check(change, *_shapes(place.module))
    return change


def _shapes(module: nn.Module) -> tuple[torch.Size, torch.Size | None]:
    """The shapes of a module's weight and of the bias that it has or could have."""
    weight = module.get_parameter("weight").shape
    return weight, (weight[:1] if "bias" in module._parameters else None)
