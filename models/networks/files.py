"""Which extra networks there are, and what each may be called; torch-free."""

import hashlib
import json
import os
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import structlog

from ..catalog import PICKLE, SAFETENSORS
from ..errors import CheckpointError, CheckpointNotFound, CorruptCheckpoint
from ..folders import is_text, printable, walk
from ..hashing import HashCache
from ..header import LENGTH_BYTES, Header, read_header

log = structlog.get_logger(__name__)

PICKLES = (PICKLE, ".pt", ".bin")
SHORT_HASH_DIGITS = 12
#: the alias that no file may claim: it means that there is no network
RESERVED_ALIAS = "none"
#: metadata that clients are shown before the rest
FIRST_SHOWN = (
    "ss_sd_model_name",
    "ss_resolution",
    "ss_clip_skip",
    "ss_num_train_images",
    "ss_tag_frequency",
)
_HASH = re.compile(r"[0-9a-fA-F]{12,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInfo:
    """A network file as clients see it.

    `alias` is the name its trainer gave it; `short_hash` the twelve digits infotexts show, None
    until the file was hashed; it does not tell two networks apart.
    """

    path: Path
    name: str
    alias: str
    short_hash: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkUse:
    """A network put on, and how strongly: on the text encoder and on the UNet.

    `dyn_dim` cuts its rank down where it is given.
    """

    network: NetworkInfo
    text_weight: float = 1.0
    unet_weight: float = 1.0
    dyn_dim: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A file as it was when it had this size and time of change; damaged where `info` is None."""

    size: int
    mtime_ns: int
    info: NetworkInfo | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    """One consistent view of the folders."""

    entries: Mapping[str, tuple[NetworkInfo, Mapping[str, str]]]
    by_alias: Mapping[str, NetworkInfo]

    @classmethod
    def of(cls, entries: Mapping[str, tuple[NetworkInfo, Mapping[str, str]]]) -> "_Index":
        infos = [info for info, _ in entries.values()]
        claims = Counter(info.alias for info in infos)
        by_alias = {
            info.alias: info
            for info in infos
            if claims[info.alias] == 1 and info.alias.lower() != RESERVED_ALIAS
        }
        return cls(entries=entries, by_alias=by_alias)


class NetworkCatalog:
    """The network files of some folders; look-ups see one scan's result as a whole.

    `hashes` must be a cache of its own: it holds the hashes of the files' payloads. Names only ever
    select among the files found: no path is made from what a client sends.
    """

    def __init__(
        self, dirs: Sequence[Path], *, hashes: HashCache, hashing: bool, allow_pickle: bool
    ) -> None:
        self.allow_pickle = allow_pickle
        self._roots = tuple(Path(os.path.abspath(root)) for root in dirs)
        self._hashes = hashes
        self._hashing = hashing
        self._seen: Mapping[Path, _Entry] = MappingProxyType({})
        self._index = _Index.of({})
        self._lock = threading.Lock()

    def scan(self) -> None:
        """Look at the folders again; a file that has not changed since is not opened.

        A damaged file costs one warning and is left out. Of two files of one name the last counts.
        """
        with self._lock:
            seen: dict[Path, _Entry] = {}
            found: dict[str, tuple[NetworkInfo, Mapping[str, str]]] = {}
            for path in self._candidates():
                entry = self._entry(path)
                if entry is None:
                    continue
                seen[path] = entry
                if entry.info is not None:
                    found[entry.info.name] = entry.info, entry.metadata
            self._seen = seen
            self._index = _Index.of(found)

    def networks(self) -> tuple[NetworkInfo, ...]:
        """List the files folder by folder, in natural order."""
        return tuple(info for info, _ in self._index.entries.values())

    def find(self, name: str) -> NetworkInfo | None:
        """Look up a file by its stem, else by the alias its trainer gave it; exactly.

        An alias that two files claim finds neither.
        """
        index = self._index
        named = index.entries.get(name)
        return named[0] if named is not None else index.by_alias.get(name)

    def with_hash(self, short_hash: str) -> NetworkInfo | None:
        """Look up a file by its short hash, among those whose hash is known by now."""
        return next((info for info in self.networks() if info.short_hash == short_hash), None)

    def hash(self, info: NetworkInfo) -> NetworkInfo:
        """Return the entry with its short hash, reading the file where it is not yet known.

        The listed entry changes with it. Without hashing, or where the file has gone, the entry
        comes back as it is.
        """
        if not self._hashing or info.short_hash is not None:
            return info
        with self._lock:
            named = self._index.entries.get(info.name)
            if named is not None and named[0] == info and named[0].short_hash is not None:
                return named[0]
            digest = self._compute(info.path)
            if digest is None:
                return info
            hashed = replace(info, short_hash=digest[:SHORT_HASH_DIGITS])
            self._remember(hashed)
        return hashed

    def listing(self) -> tuple[dict[str, object], ...]:
        """Give name, alias, path and metadata of each network, as clients list them."""
        return tuple(
            {
                "name": info.name,
                "alias": info.alias,
                "path": str(info.path),
                "metadata": _shown(metadata),
            }
            for info, metadata in self._index.entries.values()
        )

    def _candidates(self) -> Iterator[Path]:
        for root in self._roots:
            for path in walk(root):
                suffix = path.suffix.lower()
                if suffix == SAFETENSORS or (suffix in PICKLES and self.allow_pickle):
                    yield path

    def _entry(self, path: Path) -> _Entry | None:
        """The file as it was seen last, where it is still the same, or as it is now."""
        try:
            stat = path.stat()
        except OSError as error:
            _warn_skipped(path, f"cannot be read ({error.strerror})")
            return None
        known = self._seen.get(path)
        if known is not None and (known.size, known.mtime_ns) == (stat.st_size, stat.st_mtime_ns):
            return known
        entry = _Entry(size=stat.st_size, mtime_ns=stat.st_mtime_ns)
        try:
            metadata = _header(path).metadata
        except CheckpointError as error:
            _warn_skipped(path, error.reason)
            return entry
        return replace(entry, info=self._info(path, metadata), metadata=metadata)

    def _info(self, path: Path, metadata: Mapping[str, str]) -> NetworkInfo:
        digest = metadata.get("sshs_model_hash", "")
        if not _HASH.fullmatch(digest):
            digest = (self._hashes.get(path) or "") if self._hashing else ""
        return NetworkInfo(
            path=path,
            name=path.stem,
            alias=_unicode(metadata.get("ss_output_name", path.stem)),
            short_hash=digest[:SHORT_HASH_DIGITS] or None,
        )

    def _compute(self, path: Path) -> str | None:
        try:
            return self._hashes.known(path, payload_sha256)
        except OSError as error:
            log.warning("network not hashed", path=printable(path), reason=error.strerror)
            return None

    def _remember(self, hashed: NetworkInfo) -> None:
        seen, entries = dict(self._seen), dict(self._index.entries)
        if (entry := seen.get(hashed.path)) is not None:
            seen[hashed.path] = replace(entry, info=hashed)
        if (named := entries.get(hashed.name)) is not None and named[0] == hashed:
            entries[hashed.name] = hashed, named[1]
        self._seen, self._index = seen, _Index.of(entries)


def payload_sha256(path: Path) -> str:
    """Hash a safetensors file without its header, another file as a whole. Raises OSError.

    So the hash outlives a change of the metadata (kohya's `sshs_model_hash`).
    """
    with path.open("rb") as file:
        if path.suffix.lower() == SAFETENSORS:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            file.seek(min(LENGTH_BYTES + length, os.fstat(file.fileno()).st_size))
        return hashlib.file_digest(file, "sha256").hexdigest()


def _header(path: Path) -> Header:
    if not os.path.isfile(path):
        raise CheckpointNotFound(path, "no such file")
    if not is_text(path):
        raise CorruptCheckpoint(path, "its name is not UTF-8")
    if path.suffix.lower() != SAFETENSORS:
        return Header(tensors={}, metadata={})
    header = read_header(path)
    if not header.tensors:
        raise CorruptCheckpoint(path, "holds no tensors")
    return header


def _shown(metadata: Mapping[str, str]) -> dict[str, object]:
    """Metadata as clients see it: what tells most comes first, and JSON objects are unfolded."""
    return {_unicode(key): _unfolded(metadata[key]) for key in _ordered(metadata)}


def _ordered(metadata: Mapping[str, str]) -> Iterable[str]:
    first = [key for key in FIRST_SHOWN if key in metadata]
    return first + [key for key in metadata if key not in FIRST_SHOWN]


def _unfolded(text: str) -> object:
    if text.startswith("{"):
        try:
            value = json.loads(text, parse_constant=_refuse)
            # What the reply could not be written with stays text.
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError):
            return _unicode(text)
        return value
    return _unicode(text)


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON")


def _unicode(text: str) -> str:
    """The text with `?` for what UTF-8 cannot say, such as half a surrogate pair."""
    return text.encode("utf-8", "replace").decode()


def _warn_skipped(path: Path, reason: str) -> None:
    log.warning("network skipped", path=printable(path), reason=reason)
