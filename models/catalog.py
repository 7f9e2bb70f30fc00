"""Which checkpoints there are, and what each may be called."""

import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from tqdm import tqdm

from .errors import CheckpointError, CheckpointNotFound, CorruptCheckpoint
from .folders import is_text, printable, walk
from .hashing import HashCache, legacy_hash, sha256
from .header import read_header

log = structlog.get_logger(__name__)

SAFETENSORS = ".safetensors"
PICKLE = ".ckpt"
SHORT_HASH_DIGITS = 10
BRACKET = re.compile(r"\s*\[[^\[\]]*\]\s*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointInfo:
    """A checkpoint file as clients see it; `sha256` is None until the file was hashed."""

    path: Path
    name: str
    model_name: str
    sha256: str | None = None
    legacy_hash: str | None = None
    config: Path | None = None
    embedded: bool = False

    @property
    def stem(self) -> str:
        """The file's name without folder and extension."""
        return self.path.stem

    @property
    def short_hash(self) -> str | None:
        """The first ten digits of the hash."""
        return None if self.sha256 is None else self.sha256[:SHORT_HASH_DIGITS]

    @property
    def title(self) -> str:
        """The name clients choose by: `name`, or `name [short hash]` once hashed."""
        return self.name if self.sha256 is None else f"{self.name} [{self.short_hash}]"

    @property
    def short_title(self) -> str:
        """The stem, or `stem [short hash]` once hashed, as infotexts name refiners."""
        return self.stem if self.sha256 is None else f"{self.stem} [{self.short_hash}]"

    def aliases(self) -> tuple[str, ...]:
        """Every exact spelling by which a client may ask for this checkpoint."""
        names = [self.model_name, self.title, self.name, self.stem]
        if self.legacy_hash is not None:
            names += [self.legacy_hash, f"{self.name} [{self.legacy_hash}]"]
        if self.sha256 is not None:
            short = str(self.short_hash)
            names += [short, self.sha256, f"{self.name} [{short}]", f"{self.stem} [{short}]"]
        return tuple(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    """One consistent view of the folders."""

    entries: tuple[CheckpointInfo, ...]
    by_alias: Mapping[str, CheckpointInfo]

    @classmethod
    def of(cls, entries: Iterable[CheckpointInfo]) -> "_Index":
        listed = tuple(entries)
        by_alias: dict[str, CheckpointInfo] = {}
        for entry in listed:
            for alias in entry.aliases():
                by_alias.setdefault(alias, entry)
        return cls(entries=listed, by_alias=by_alias)


class Catalog:
    """The checkpoints of some folders; look-ups see one scan's result as a whole.

    Names only ever select among the files found: no path is made from what a client sends.
    """

    def __init__(
        self,
        checkpoint_dirs: Sequence[Path],
        *,
        explicit: Path | None,
        hashes: HashCache,
        hashing: bool,
        allow_pickle: bool,
        demo: Path,
    ) -> None:
        self.allow_pickle = allow_pickle
        self._roots = tuple(Path(os.path.abspath(root)) for root in checkpoint_dirs)
        self._explicit = None if explicit is None else Path(os.path.abspath(explicit))
        self._hashes = hashes
        self._hashing = hashing
        self._demo = demo
        self._index = _Index.of(())
        self._lock = threading.Lock()
        self._hash_lock = threading.Lock()

    def scan(self) -> None:
        """Look at the folders again.

        A damaged file costs one warning and is left out. Raises CheckpointNotFound or
        CorruptCheckpoint for the file named explicitly, and then changes nothing.
        """
        found = {info.path: info for info in self._found()}
        by_name: dict[str, CheckpointInfo] = {}
        for info in found.values():
            first = by_name.setdefault(info.name, info)
            if first is not info:
                _warn_skipped(info.path, f"same name as {first.path}")
        if not by_name and self._demo.is_file():
            by_name[self._demo.name] = self._embedded()
        with self._lock:
            self._index = _Index.of(by_name.values())

    def checkpoints(self) -> tuple[CheckpointInfo, ...]:
        """List the explicit file first, then folder by folder in natural order."""
        return self._index.entries

    def default(self) -> CheckpointInfo | None:
        """Return the checkpoint to use where none was chosen."""
        return next(iter(self._index.entries), None)

    def find(self, alias: str) -> CheckpointInfo | None:
        """Look up an exact alias, then one without its `[hash]`, then a stem in any case.

        Never guesses: a stem that two files share finds neither.
        """
        index = self._index
        bare = BRACKET.sub("", alias)
        exact = index.by_alias.get(alias) or index.by_alias.get(bare)
        if exact is not None:
            return exact
        wanted = _without_extension(bare).casefold()
        alike = [info for info in index.entries if info.stem.casefold() == wanted]
        return alike[0] if len(alike) == 1 else None

    def closest(self, name: str) -> CheckpointInfo | None:
        """Look up as `find` does, then by a part of a title: the shortest that has it.

        So are refiners and checkpoints of a hires pass chosen in the reference.
        """
        found = self.find(name)
        if found is not None or not name:
            return found
        for part in (name, BRACKET.sub("", name)):
            alike = [info for info in self._index.entries if part in info.title]
            if alike:
                return min(alike, key=lambda info: len(info.title))
        return None

    def hash(self, info: CheckpointInfo) -> CheckpointInfo:
        """Return the entry with its sha256, reading the file where the hash is not yet known.

        The listed entry changes with it. Raises CheckpointNotFound where the file has gone.
        """
        if not self._hashing or info.sha256 is not None:
            return info
        with self._hash_lock:
            digest = self._compute(info.path)
        hashed = replace(info, sha256=digest)
        with self._lock:
            self._index = _Index.of(
                hashed if entry.path == info.path else entry for entry in self._index.entries
            )
        return hashed

    def _compute(self, path: Path) -> str:
        try:
            return self._hashes.known(path, _shown_sha256)
        except OSError as error:
            raise CheckpointNotFound(path, f"cannot be read ({error.strerror})") from error

    def _found(self) -> Iterator[CheckpointInfo]:
        if self._explicit is not None:
            check_file(self._explicit, (PICKLE,), allow_pickle=self.allow_pickle)
            yield self._info(self._explicit)
        for root in self._roots:
            for path in walk(root):
                if self._wanted(path):
                    try:
                        check_file(path, (PICKLE,), allow_pickle=self.allow_pickle)
                        yield self._info(path)
                    except CheckpointError as error:
                        _warn_skipped(path, error.reason)

    def _wanted(self, path: Path) -> bool:
        suffix = path.suffix.lower()
        if Path(path.stem).suffix.lower() == ".vae":
            return False
        return suffix == SAFETENSORS or (suffix == PICKLE and self.allow_pickle)

    def _info(self, path: Path) -> CheckpointInfo:
        root = next((root for root in self._roots if path.is_relative_to(root)), path.parent)
        name = path.relative_to(root).as_posix()
        config = path.with_suffix(".yaml")
        try:
            legacy = legacy_hash(path)
        except OSError as error:
            raise CheckpointNotFound(path, f"cannot be read ({error.strerror})") from error
        return CheckpointInfo(
            path=path,
            name=name,
            model_name=_without_extension(name).replace("/", "_").replace("\\", "_"),
            sha256=self._hashes.get(path) if self._hashing else None,
            legacy_hash=legacy,
            config=config if os.path.isfile(config) else None,
        )

    def _embedded(self) -> CheckpointInfo:
        log.info(
            "no checkpoint found: using the embedded demo, which draws only simple shapes",
            demo=self._demo.stem,
            put_models_in=[str(root) for root in self._roots],
        )
        return replace(self._info(self._demo), embedded=True)


def check_file(path: Path, pickles: Sequence[str], *, allow_pickle: bool) -> None:
    """Refuse what cannot be a file of weights: safetensors, or one of the `pickles` if allowed.

    Raises CheckpointNotFound and CorruptCheckpoint.
    """
    if not os.path.isfile(path):
        raise CheckpointNotFound(path, "no such file")
    if not is_text(path):
        raise CorruptCheckpoint(path, "its name is not UTF-8")
    suffix = path.suffix.lower()
    if suffix == SAFETENSORS:
        if not read_header(path).tensors:
            raise CorruptCheckpoint(path, "holds no tensors")
    elif suffix not in pickles:
        raise CorruptCheckpoint(path, f"is none of {', '.join((SAFETENSORS, *pickles))}")
    elif not allow_pickle:
        raise CorruptCheckpoint(path, "is a pickle; these are read only when allowed by flag")


def _shown_sha256(path: Path) -> str:
    """Hash a file; what takes long shows a bar on a terminal. Raises OSError."""
    with tqdm(
        total=path.stat().st_size,
        desc=f"hashing {path.name}",
        unit="B",
        unit_scale=True,
        delay=1,
        disable=None,
    ) as bar:
        return sha256(path, bar.update)


def _without_extension(name: str) -> str:
    stem, extension = os.path.splitext(name)
    return stem if extension.lower() in (SAFETENSORS, PICKLE) else name


def _warn_skipped(path: Path, reason: str) -> None:
    log.warning("checkpoint skipped", path=printable(path), reason=reason)
