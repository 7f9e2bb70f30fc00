"""Which checkpoints there are, and what each may be called."""

import os
import re
import threading
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog
from tqdm import tqdm

from .errors import CheckpointError, CheckpointNotFound, CorruptCheckpoint
from .folders import Found, Stamp, is_text, printable
from .hashing import SHA256, HashCache, Unhashed, legacy_hash, passing_sha256, sha256
from .header import read_header
from .identify.folder import INDEX as FOLDER_INDEX
from .identify.folder import read_folder
from .watched import Viewed, Watched

log = structlog.get_logger(__name__)

SAFETENSORS = ".safetensors"
PICKLE = ".ckpt"
CONFIG = ".yaml"
SHORT_HASH_DIGITS = 10
#: the fact that a checkpoint's header is sound; its value is the legacy hash
_SOUND = "checkpoint"
BRACKET = re.compile(r"\s*\[[^\[\]]*\]\s*$")


#: a folder in diffusers' layout, and the files in it
_Folder = tuple[Path, tuple[Found, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointInfo:
    """A checkpoint as clients see it: a file, or a folder in diffusers' layout.

    `sha256` is None until the file was hashed; a folder has none. One that was written since has
    another `stamp`.
    """

    path: Path
    name: str
    model_name: str
    sha256: str | None = None
    legacy_hash: str | None = None
    config: Path | None = None
    embedded: bool = False
    stamp: Stamp | None = None

    @property
    def stem(self) -> str:
        """The name of the file, or of the folder it is, without folder and extension."""
        return _without_extension(self.path.name)

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
    """One consistent view of the folders.

    `alike` has the spellings that are forgiven; None where two files share one. `doubles` are the
    files left out because another one has their name; `folders` those in diffusers' layout with
    their parts, None where these make no model.
    """

    entries: tuple[CheckpointInfo, ...] = ()
    by_alias: Mapping[str, CheckpointInfo] = field(default_factory=dict)
    alike: Mapping[str, CheckpointInfo | None] = field(default_factory=dict)
    doubles: Mapping[Path, Path] = field(default_factory=dict)
    folders: Mapping[_Folder, CheckpointInfo | None] = field(default_factory=dict)

    def listing(self, entries: Iterable[CheckpointInfo]) -> "_Index":
        """The same with these entries, which have different names."""
        listed = tuple(entries)
        by_alias: dict[str, CheckpointInfo] = {}
        alike: dict[str, CheckpointInfo | None] = {}
        for entry in listed:
            for alias in entry.aliases():
                by_alias.setdefault(alias, entry)
            for spelling in {_folded(entry.stem), _folded(entry.name), _folded(str(entry.path))}:
                alike[spelling] = None if spelling in alike else entry
        return replace(self, entries=listed, by_alias=by_alias, alike=alike)

    def find(self, alias: str) -> CheckpointInfo | None:
        bare = BRACKET.sub("", alias)
        exact = self.by_alias.get(alias) or self.by_alias.get(bare)
        return exact or self.alike.get(_folded(bare))

    def closest(self, name: str) -> CheckpointInfo | None:
        found = self.find(name)
        if found is not None or not name:
            return found
        for part in (name, BRACKET.sub("", name)):
            parts = [info for info in self.entries if part in info.title]
            if parts:
                return min(parts, key=lambda info: len(info.title))
        return None


class Catalog:
    """The checkpoints of some folders as they are now; safe for several threads.

    Every look-up notices files that came or went, at the price of a `stat` a folder, and whether
    the file it finds was written since. Names only ever select among the files found: no path is
    made from what a client sends.
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
        files = Watched(
            self._roots,
            endings=(SAFETENSORS, CONFIG, FOLDER_INDEX, *((PICKLE,) if allow_pickle else ())),
            read=self._read,
            files=() if self._explicit is None else (self._explicit,),
        )
        self._view = Viewed(
            files, self._indexed, _Index(), version=lambda: hashes.version if hashing else 0
        )
        self._hash_lock = threading.Lock()

    def scan(self) -> None:
        """Look at every file again, also for what was written in place.

        A damaged file costs one warning and is left out. The first time, raises CheckpointNotFound
        or CorruptCheckpoint for the file named explicitly.
        """
        if self._explicit is not None and not self._view.begun:
            check_file(self._explicit, (PICKLE,), allow_pickle=self.allow_pickle)
        self._view.now(closely=True)

    def checkpoints(self) -> tuple[CheckpointInfo, ...]:
        """List the explicit file first, then folder by folder in natural order."""
        return self._view.now().entries

    def default(self) -> CheckpointInfo | None:
        """Return the checkpoint to use where none was chosen."""
        return self._fresh(lambda index: next(iter(index.entries), None))

    def find(self, alias: str) -> CheckpointInfo | None:
        """Look up an exact alias, then one without its `[hash]`, then a spelling that is forgiven.

        Those are the file's stem, its name and its path in any case, with `\\` for `/`, and with or
        without the extension. Never guesses: a stem that two files share finds neither.
        """
        return self._fresh(lambda index: index.find(alias))

    def closest(self, name: str) -> CheckpointInfo | None:
        """Look up as `find` does, then by a part of a title: the shortest that has it.

        So are refiners and checkpoints of a hires pass chosen in the reference.
        """
        return self._fresh(lambda index: index.closest(name))

    def hash(self, info: CheckpointInfo) -> CheckpointInfo:
        """Return the entry with its sha256, reading the file where the hash is not yet known.

        The listed entry changes with it. Raises CheckpointNotFound where the file has gone.
        """
        if not self._hashing or info.sha256 is not None or info.path.is_dir():
            return info
        with self._hash_lock:
            digest = self._compute(info.path)
        return replace(info, sha256=digest)

    def unhashed(self) -> tuple[Unhashed, ...]:
        """Tell which files no hash is known of."""
        if not self._hashing:
            return ()
        return tuple(
            Unhashed(path=info.path, stamp=info.stamp, fact=SHA256, read=passing_sha256)
            for info in self.checkpoints()
            if info.sha256 is None and info.stamp is not None and not info.path.is_dir()
        )

    def _fresh(self, find: Callable[[_Index], CheckpointInfo | None]) -> CheckpointInfo | None:
        return self._view.find(find, lambda info: not info.embedded and not info.path.is_dir())

    def _indexed(self, files: Mapping[Found, str | None]) -> _Index:
        by_name: dict[str, CheckpointInfo] = {}
        doubles: dict[Path, Path] = {}
        configs = {file.path for file in files if file.stamp and file.path.suffix == CONFIG}
        folders = self._folders(files)
        inside = {file for _, parts in folders for file in parts}
        infos = (
            self._info(file, legacy, configs)
            for file, legacy in files.items()
            if legacy is not None and file not in inside
        )
        for info in (*infos, *(info for info in folders.values() if info is not None)):
            first = by_name.setdefault(info.name, info)
            if first.path != info.path:
                doubles[info.path] = first.path
        for path, first_path in doubles.items():
            if path not in self._view.latest.doubles:
                _warn_skipped(path, f"same name as {first_path}")
        if not by_name and self._demo.is_file():
            by_name[self._demo.name] = self._embedded()
        return _Index(doubles=doubles, folders=folders).listing(by_name.values())

    def _folders(self, files: Iterable[Found]) -> dict[_Folder, CheckpointInfo | None]:
        """The folders in diffusers' layout among `files`, with their parts; new ones are read."""
        listed = list(files)
        indexes = {file.path.parent for file in listed if file.path.name == FOLDER_INDEX}
        # one within another is a part of it
        roots = [path for path in indexes if indexes.isdisjoint(path.parents)]
        found: dict[_Folder, CheckpointInfo | None] = {}
        for path in sorted(roots):
            parts = tuple(file for file in listed if path in file.path.parents)
            known = self._view.latest.folders
            key = path, parts
            found[key] = known[key] if key in known else self._folder_info(path, parts)
        return found

    def _folder_info(self, path: Path, parts: Sequence[Found]) -> CheckpointInfo | None:
        try:
            if not is_text(path):
                raise CorruptCheckpoint(path, "its name is not UTF-8")
            read_folder(path)
        except CheckpointError as error:
            _warn_skipped(path, error.reason)
            return None
        stamps = [part.stamp for part in parts if part.stamp is not None]
        size = sum(stamp.size for stamp in stamps)
        name = self._name(path)
        return CheckpointInfo(
            path=path,
            name=name,
            model_name=_flat(name),
            stamp=Stamp(size, max((stamp.mtime_ns for stamp in stamps), default=0)),
        )

    def _compute(self, path: Path) -> str:
        try:
            return self._hashes.known(path, _shown_sha256)
        except OSError as error:
            raise CheckpointNotFound(path, f"cannot be read ({error.strerror})") from error

    def _read(self, files: Sequence[Found]) -> list[str | None]:
        """The legacy hash of each file that is a sound checkpoint."""
        shown = tqdm(files, desc="looking at checkpoints", delay=1, disable=None, leave=False)
        with self._hashes.together(), shown:
            return [self._legacy(file) if self._wanted(file.path) else None for file in shown]

    def _wanted(self, path: Path) -> bool:
        if path.name.lower().endswith((FOLDER_INDEX, CONFIG)):
            return False
        return path == self._explicit or Path(path.stem).suffix.lower() != ".vae"

    def _legacy(self, file: Found) -> str | None:
        told = file.stamp and self._hashes.told(file.path, file.stamp, _SOUND)
        if told is not None:
            return told
        try:
            check_file(file.path, (PICKLE,), allow_pickle=self.allow_pickle)
            legacy = legacy_hash(file.path)
        except CheckpointError as error:
            _warn_skipped(file.path, error.reason)
            return None
        except OSError as error:
            _warn_skipped(file.path, f"cannot be read ({error.strerror})")
            return None
        if file.stamp is not None:
            self._hashes.put(file.path, file.stamp, legacy, _SOUND)
        return legacy

    def _info(self, file: Found, legacy: str, configs: Set[Path]) -> CheckpointInfo:
        path = file.path
        name, config = self._name(path), path.with_suffix(CONFIG)
        # nobody lists the folder of a file that is in none of ours
        foreign = not any(path.is_relative_to(root) for root in self._roots)
        beside = config in configs or (foreign and os.path.isfile(config))
        return CheckpointInfo(
            path=path,
            name=name,
            model_name=_flat(name),
            sha256=self._hashes.told(path, file.stamp) if self._hashing and file.stamp else None,
            legacy_hash=legacy,
            config=config if beside else None,
            stamp=file.stamp,
        )

    def _name(self, path: Path) -> str:
        root = next((root for root in self._roots if root in path.parents), path.parent)
        return path.relative_to(root).as_posix()

    def _embedded(self) -> CheckpointInfo:
        if not any(info.embedded for info in self._view.latest.entries):
            log.info(
                "no checkpoint found: using the embedded demo, which draws only simple shapes",
                demo=self._demo.stem,
                put_models_in=[str(root) for root in self._roots],
            )
        file = Found(self._demo, Stamp.of(self._demo))
        return replace(self._info(file, legacy_hash(self._demo), set()), embedded=True)


def check_file(path: Path, pickles: Sequence[str], *, allow_pickle: bool) -> None:
    """Refuse what cannot be a file of weights: safetensors, or one of the `pickles` if allowed.

    Raises CheckpointNotFound and CorruptCheckpoint.
    """
    if not os.path.isfile(path):
        raise CheckpointNotFound(path, "no such file, or none that can be read")
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
    name, size = f"hashing {path.name}", path.stat().st_size
    with tqdm(total=size, desc=name, unit="B", unit_scale=True, delay=1, disable=None) as bar:
        return sha256(path, bar.update)


def _flat(name: str) -> str:
    """A name as a `model_name`."""
    return _without_extension(name).replace("/", "_").replace("\\", "_")


def _folded(name: str) -> str:
    """A name as look-ups forgive it: without extension, case, and the kind of slash."""
    plain = _without_extension(name.replace("\\", "/"))
    return unicodedata.normalize("NFC", plain).casefold()


def _without_extension(name: str) -> str:
    stem, extension = os.path.splitext(name)
    return stem if extension.lower() in (SAFETENSORS, PICKLE) else name


def _warn_skipped(path: Path, reason: str) -> None:
    log.warning("checkpoint skipped", path=printable(path), reason=reason)
