"""Which autoencoder files there are beside those inside checkpoints; torch-free."""

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import structlog

from .catalog import PICKLE, SAFETENSORS, SHORT_HASH_DIGITS, CheckpointInfo, check_file
from .errors import CheckpointError, CheckpointNotFound
from .folders import natural, printable, walk
from .hashing import HashCache, sha256

log = structlog.get_logger(__name__)

#: spellings of the setting that leave the choice to the files
AUTOMATIC = ("Automatic", "auto")
#: the checkpoint's own autoencoder
NONE = "None"
_PICKLES = (PICKLE, ".pt")
_MARK = ".vae"
_MAX_PREFERENCES = 1 << 20

Warnings = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeInfo:
    """An autoencoder file; `name` is its file name with extension, as clients choose by.

    `sha256` is None until the file was hashed, and does not tell two of them apart.
    """

    path: Path
    name: str
    sha256: str | None = field(default=None, compare=False)

    @property
    def short_hash(self) -> str | None:
        """The first ten digits of the hash, as infotexts show it."""
        return None if self.sha256 is None else self.sha256[:SHORT_HASH_DIGITS]


class VaeCatalog:
    """The autoencoder files of some folders, and which of them goes with a checkpoint.

    In `dirs` every file of weights is one, in `checkpoint_dirs` those called `*.vae.*`; of two
    files of one name the first is taken. `explicit`, where given, goes with every checkpoint. Names
    only ever select among the files found: no path is made from what a client sends.
    """

    def __init__(
        self,
        dirs: Sequence[Path],
        checkpoint_dirs: Sequence[Path],
        *,
        hashes: HashCache,
        hashing: bool,
        allow_pickle: bool,
        explicit: Path | None = None,
    ) -> None:
        self.allow_pickle = allow_pickle
        self._dirs = tuple(Path(os.path.abspath(folder)) for folder in dirs)
        self._checkpoint_dirs = tuple(Path(os.path.abspath(folder)) for folder in checkpoint_dirs)
        self._explicit = None if explicit is None else _info(Path(os.path.abspath(explicit)))
        self._hashes = hashes
        self._hashing = hashing
        self._by_name: Mapping[str, VaeInfo] = MappingProxyType({})
        self._hash_lock = threading.Lock()

    def scan(self) -> None:
        """Look at the folders again.

        A damaged file costs one warning and is left out. Raises CheckpointNotFound or
        CorruptCheckpoint for the file named explicitly, and then changes nothing.
        """
        if self._explicit is not None:
            check_file(self._explicit.path, _PICKLES, allow_pickle=self.allow_pickle)
        found: dict[str, VaeInfo] = {}
        for path in self._candidates():
            first = found.get(path.name)
            if first is not None:
                if first.path != path:
                    _warn_skipped(path, f"same name as {first.path}")
                continue
            try:
                check_file(path, _PICKLES, allow_pickle=self.allow_pickle)
            except CheckpointError as error:
                _warn_skipped(path, error.reason)
            else:
                found[path.name] = _info(path)
        self._by_name = MappingProxyType(
            {name: found[name] for name in sorted(found, key=lambda name: (natural(name), name))}
        )

    def vaes(self) -> tuple[VaeInfo, ...]:
        """List the files in natural order of their names."""
        return tuple(self._by_name.values())

    def find(self, name: str) -> VaeInfo | None:
        """Look up a file name with extension, exactly."""
        return self._by_name.get(name)

    def choose(
        self, setting: str, checkpoint: CheckpointInfo, *, overrides_preferences: bool
    ) -> tuple[VaeInfo | None, Warnings]:
        """The file to use with `checkpoint` (None: its own), and what could not be honoured.

        The file named explicitly wins; then the setting, if it names one and overrides preferences;
        then the key `vae` of the JSON beside the checkpoint; then a file named like the checkpoint,
        unless the setting names one; then the setting.
        """
        if self._explicit is not None:
            return self._explicit, ()
        automatic = setting in AUTOMATIC
        if automatic or not overrides_preferences:
            preferred = _preference(checkpoint)
            if preferred == NONE:
                return None, ()
            chosen = self.find(preferred) if preferred else None
            chosen = chosen or self._named_like(checkpoint)
            if chosen is not None:
                return chosen, ()
        if automatic or setting == NONE:
            return None, ()
        named = self.find(setting)
        if named is not None:
            return named, ()
        return None, (f"unknown VAE {setting!r}: used the checkpoint's own",)

    def hash(self, info: VaeInfo) -> VaeInfo:
        """Return the entry with its sha256, reading the file where the hash is not yet known.

        Raises CheckpointNotFound where the file has gone.
        """
        if not self._hashing or info.sha256 is not None:
            return info
        try:
            with self._hash_lock:
                digest = self._hashes.known(info.path, sha256)
        except OSError as error:
            reason = f"cannot be read ({error.strerror})"
            raise CheckpointNotFound(info.path, reason) from error
        return replace(info, sha256=digest)

    def _candidates(self) -> Iterator[Path]:
        for folder in self._dirs:
            yield from (path for path in walk(folder) if self._readable(path))
        for folder in self._checkpoint_dirs:
            for path in walk(folder):
                if self._readable(path) and Path(path.stem).suffix.lower() == _MARK:
                    yield path

    def _readable(self, path: Path) -> bool:
        suffix = path.suffix.lower()
        return suffix == SAFETENSORS or (suffix in _PICKLES and self.allow_pickle)

    def _named_like(self, checkpoint: CheckpointInfo) -> VaeInfo | None:
        """The checkpoint's namesake, else the first file whose name starts like its stem."""
        alike = [info for info in self.vaes() if info.name.startswith(checkpoint.stem)]
        same = (info for info in alike if info.path.stem.removesuffix(_MARK) == checkpoint.stem)
        return next(same, None) or next(iter(alike), None)


def _info(path: Path) -> VaeInfo:
    return VaeInfo(path=path, name=path.name)


def _preference(checkpoint: CheckpointInfo) -> str | None:
    """The autoencoder that the checkpoint's user metadata names, if any."""
    path = checkpoint.path.with_suffix(".json")
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_MAX_PREFERENCES))
    except (OSError, ValueError, RecursionError):
        return None
    named = content.get("vae") if isinstance(content, dict) else None
    return named if isinstance(named, str) else None


def _warn_skipped(path: Path, reason: str) -> None:
    log.warning("VAE skipped", path=printable(path), reason=reason)
