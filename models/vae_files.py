"""Which autoencoder files there are beside those inside checkpoints; torch-free."""

import json
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import structlog

from .catalog import PICKLE, SAFETENSORS, SHORT_HASH_DIGITS, CheckpointInfo, check_file
from .errors import CheckpointError, CheckpointNotFound
from .folders import Found, Stamp, natural, printable
from .hashing import SHA256, HashCache, Unhashed, passing_sha256, sha256
from .watched import Viewed, Watched

log = structlog.get_logger(__name__)

#: spellings of the setting that leave the choice to the files
AUTOMATIC = ("Automatic", "auto")
#: the checkpoint's own autoencoder
NONE = "None"
_PICKLES = (PICKLE, ".pt")
_MARK = ".vae"
_MAX_PREFERENCES = 1 << 20
#: the fact that an autoencoder's header is sound
_SOUND = "vae"

Warnings = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeInfo:
    """An autoencoder file; `name` is its file name with extension, as clients choose by.

    One that was written since has another `stamp`. `sha256` is None until the file was hashed, and
    does not tell two of them apart.
    """

    path: Path
    name: str
    stamp: Stamp | None = None
    sha256: str | None = field(default=None, compare=False)

    @property
    def short_hash(self) -> str | None:
        """The first ten digits of the hash, as infotexts show it."""
        return None if self.sha256 is None else self.sha256[:SHORT_HASH_DIGITS]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    """One consistent view of the folders; `doubles` are left out, as another has their name."""

    by_name: Mapping[str, VaeInfo] = field(default_factory=dict)
    doubles: Mapping[Path, Path] = field(default_factory=dict)


class VaeCatalog:
    """The autoencoder files of some folders as they are now; which of them goes with a checkpoint.

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
        self._explicit = None if explicit is None else Path(os.path.abspath(explicit))
        self._hashes = hashes
        self._hashing = hashing
        files = Watched(
            (*self._dirs, *(Path(os.path.abspath(folder)) for folder in checkpoint_dirs)),
            endings=(SAFETENSORS, *(_PICKLES if allow_pickle else ())),
            read=self._read,
        )
        self._view = Viewed(files, self._indexed, _Index())
        self._hash_lock = threading.Lock()

    def scan(self) -> None:
        """Look at every file again, also for what was written in place.

        A damaged file costs one warning and is left out. The first time, raises CheckpointNotFound
        or CorruptCheckpoint for the file named explicitly.
        """
        if self._explicit is not None and not self._view.begun:
            check_file(self._explicit, _PICKLES, allow_pickle=self.allow_pickle)
        self._view.now(closely=True)

    def vaes(self) -> tuple[VaeInfo, ...]:
        """List the files in natural order of their names."""
        return tuple(self._view.now().by_name.values())

    def find(self, name: str) -> VaeInfo | None:
        """Look up a file name with extension, exactly."""
        return self._view.find(lambda index: index.by_name.get(name))

    def choose(
        self, setting: str, checkpoint: CheckpointInfo, *, overrides_preferences: bool
    ) -> tuple[VaeInfo | None, Warnings]:
        """The file to use with `checkpoint` (None: its own), and what could not be honoured.

        The file named explicitly wins; then the setting, if it names one and overrides preferences;
        then the key `vae` of the JSON beside the checkpoint; then a file named like the checkpoint,
        unless the setting names one; then the setting.
        """
        if self._explicit is not None:
            return _info(Found(self._explicit, Stamp.of(self._explicit))), ()
        automatic = setting in AUTOMATIC
        if automatic or not overrides_preferences:
            preferred = _preference(checkpoint)
            if preferred == NONE:
                return None, ()
            chosen = self.find(preferred) if preferred else None
            chosen = chosen or self._view.find(
                lambda index: _named_like(checkpoint, index.by_name.values())
            )
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

    def unhashed(self) -> tuple[Unhashed, ...]:
        """Tell which files no hash is known of."""
        if not self._hashing:
            return ()
        return tuple(
            Unhashed(path=info.path, stamp=info.stamp, fact=SHA256, read=passing_sha256)
            for info in self.vaes()
            if info.stamp and self._hashes.told(info.path, info.stamp) is None
        )

    def _indexed(self, files: Mapping[Found, bool | None]) -> _Index:
        found: dict[str, VaeInfo] = {}
        doubles: dict[Path, Path] = {}
        for file, sound in files.items():
            if sound:
                first = found.setdefault(file.path.name, _info(file))
                if first.path != file.path:
                    doubles[file.path] = first.path
        for path, first_path in doubles.items():
            if path not in self._view.latest.doubles:
                _warn_skipped(path, f"same name as {first_path}")
        names = sorted(found, key=lambda name: (natural(name), name))
        by_name = MappingProxyType({name: found[name] for name in names})
        return _Index(by_name=by_name, doubles=doubles)

    def _read(self, files: Sequence[Found]) -> list[bool | None]:
        """Whether each file is a sound autoencoder."""
        with self._hashes.together():
            return [self._wanted(file.path) and self._is_sound(file) for file in files]

    def _wanted(self, path: Path) -> bool:
        if any(path.is_relative_to(folder) for folder in self._dirs):
            return True
        return Path(path.stem).suffix.lower() == _MARK

    def _is_sound(self, file: Found) -> bool:
        if file.stamp and self._hashes.told(file.path, file.stamp, _SOUND) is not None:
            return True
        try:
            check_file(file.path, _PICKLES, allow_pickle=self.allow_pickle)
        except CheckpointError as error:
            _warn_skipped(file.path, error.reason)
            return False
        if file.stamp:
            self._hashes.put(file.path, file.stamp, "", _SOUND)
        return True


def _named_like(checkpoint: CheckpointInfo, vaes: Iterable[VaeInfo]) -> VaeInfo | None:
    """The checkpoint's namesake, else the first file whose name starts like its stem."""
    alike = [info for info in vaes if info.name.startswith(checkpoint.stem)]
    same = (info for info in alike if info.path.stem.removesuffix(_MARK) == checkpoint.stem)
    return next(same, None) or next(iter(alike), None)


def _info(file: Found) -> VaeInfo:
    return VaeInfo(path=file.path, name=file.path.name, stamp=file.stamp)


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
