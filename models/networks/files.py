"""Which extra networks there are, and what each may be called; torch-free."""

import json
import os
import re
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog
from tqdm import tqdm

from ..catalog import PICKLE, SAFETENSORS
from ..errors import CheckpointError, CheckpointNotFound, CorruptCheckpoint
from ..folders import Found, Stamp, is_text, printable
from ..hashing import HashCache, OnBytes, Unhashed, sha256
from ..header import LENGTH_BYTES, Header, read_header
from ..watched import Viewed, Watched

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
#: the fact that is the hash of a network's weights without their header
PAYLOAD = "payload"
#: the fact that a network's header is sound; its value is what the trainer claims
_SOUND = "network"
_HASH = re.compile(r"[0-9a-fA-F]{12,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInfo:
    """A network file as clients see it.

    `alias` is the name its trainer gave it. One that was written since has another `stamp`.
    `short_hash` are the twelve digits infotexts show, None until the file was hashed; they do not
    tell two networks apart.
    """

    path: Path
    name: str
    alias: str
    stamp: Stamp | None = None
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


@dataclass(frozen=True, slots=True)
class _Claims:
    """What a trainer wrote into a file of its name and its hash; the hash may be empty."""

    alias: str | None
    digest: str

    @classmethod
    def parse(cls, text: str) -> "_Claims":
        digest, named, alias = text.partition(" ")
        return cls(alias if named else None, digest)

    def text(self) -> str:
        return self.digest if self.alias is None else f"{self.digest} {self.alias}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    """One consistent view of the folders."""

    by_name: Mapping[str, NetworkInfo] = field(default_factory=dict)
    by_alias: Mapping[str, NetworkInfo] = field(default_factory=dict)

    def find(self, name: str) -> NetworkInfo | None:
        return self.by_name.get(name) or self.by_alias.get(name)


class NetworkCatalog:
    """The network files of some folders as they are now; safe for several threads.

    Every look-up notices files that came or went, at the price of a `stat` a folder, and whether
    the file it finds was written since. Names only ever select among the files found: no path is
    made from what a client sends.
    """

    def __init__(
        self, dirs: Sequence[Path], *, hashes: HashCache, hashing: bool, allow_pickle: bool
    ) -> None:
        self.allow_pickle = allow_pickle
        self._hashes = hashes
        self._hashing = hashing
        files = Watched(
            tuple(Path(os.path.abspath(root)) for root in dirs),
            endings=(SAFETENSORS, *(PICKLES if allow_pickle else ())),
            read=self._read,
        )
        self._view = Viewed(
            files, self._indexed, _Index(), version=lambda: hashes.version if hashing else 0
        )
        self._metadata: Mapping[Found, Mapping[str, str]] = {}
        self._hash_lock = threading.Lock()

    def scan(self) -> None:
        """Look at every file again, also for what was written in place.

        A damaged file costs one warning and is left out. Of two files of one name the last counts.
        """
        self._view.now(closely=True)

    def networks(self) -> tuple[NetworkInfo, ...]:
        """List the files folder by folder, in natural order."""
        return tuple(self._view.now().by_name.values())

    def find(self, name: str) -> NetworkInfo | None:
        """Look up a file by its stem, else by the alias its trainer gave it; exactly.

        An alias that two files claim finds neither.
        """
        return self._view.find(lambda index: index.find(name))

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
        with self._hash_lock:
            try:
                digest = self._hashes.known(info.path, payload_sha256, PAYLOAD)
            except OSError as error:
                path, reason = printable(info.path), error.strerror
                log.warning("network not hashed", path=path, reason=reason)
                return info
        return replace(info, short_hash=digest[:SHORT_HASH_DIGITS])

    def unhashed(self) -> tuple[Unhashed, ...]:
        """Tell which files no hash is known of, and none is claimed."""
        if not self._hashing:
            return ()
        return tuple(
            Unhashed(path=info.path, stamp=info.stamp, fact=PAYLOAD, read=_passing_sha256)
            for info in self.networks()
            if info.short_hash is None and info.stamp is not None
        )

    def listing(self) -> tuple[dict[str, object], ...]:
        """Give name, alias, path and metadata of each network, as clients list them.

        The first time the headers are read that an earlier run has read.
        """
        listed = self.networks()
        known = self._metadata
        found = {Found(info.path, info.stamp): info for info in listed}
        metadata = {file: known[file] if file in known else _metadata(file) for file in found}
        self._metadata = metadata
        return tuple(
            {
                "name": info.name,
                "alias": info.alias,
                "path": str(info.path),
                "metadata": _shown(metadata[file]),
            }
            for file, info in found.items()
        )

    def _indexed(self, files: Mapping[Found, _Claims | None]) -> _Index:
        by_name: dict[str, NetworkInfo] = {}
        for file, claims in files.items():
            if claims is not None:
                info = self._info(file, claims)
                by_name[info.name] = info
        claimed = Counter(info.alias for info in by_name.values())
        by_alias = {
            info.alias: info
            for info in by_name.values()
            if claimed[info.alias] == 1 and info.alias.lower() != RESERVED_ALIAS
        }
        return _Index(by_name=by_name, by_alias=by_alias)

    def _info(self, file: Found, claims: _Claims) -> NetworkInfo:
        digest = claims.digest
        if not digest and self._hashing and file.stamp is not None:
            digest = self._hashes.told(file.path, file.stamp, PAYLOAD) or ""
        return NetworkInfo(
            path=file.path,
            name=file.path.stem,
            alias=file.path.stem if claims.alias is None else claims.alias,
            stamp=file.stamp,
            short_hash=digest[:SHORT_HASH_DIGITS] or None,
        )

    def _read(self, files: Sequence[Found]) -> list[_Claims | None]:
        """What each file that is a sound network claims to be."""
        shown = tqdm(files, desc="looking at LoRAs", delay=1, disable=None, leave=False)
        with self._hashes.together(), shown:
            return [self._claims(file) for file in shown]

    def _claims(self, file: Found) -> _Claims | None:
        told = file.stamp and self._hashes.told(file.path, file.stamp, _SOUND)
        if told is not None:
            return _Claims.parse(told)
        try:
            metadata = _header(file.path).metadata
        except CheckpointError as error:
            _warn_skipped(file.path, error.reason)
            return None
        alias, digest = metadata.get("ss_output_name"), metadata.get("sshs_model_hash", "")
        claims = _Claims(
            alias=None if alias is None else _unicode(alias),
            digest=digest if _HASH.fullmatch(digest) else "",
        )
        if file.stamp is not None:
            self._hashes.put(file.path, file.stamp, claims.text(), _SOUND)
        return claims


def payload_sha256(path: Path, on_bytes: OnBytes | None = None, *, passing: bool = False) -> str:
    """Hash a safetensors file without its header, another file as a whole. Raises OSError.

    So the hash outlives a change of the metadata (kohya's `sshs_model_hash`).
    """
    start = 0
    if path.suffix.lower() == SAFETENSORS:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            start = min(LENGTH_BYTES + length, os.fstat(file.fileno()).st_size)
    return sha256(path, on_bytes, start=start, passing=passing)


def _passing_sha256(path: Path, on_bytes: OnBytes) -> str:
    return payload_sha256(path, on_bytes, passing=True)


def _metadata(file: Found) -> Mapping[str, str]:
    """A file's metadata; none where it cannot be read any more."""
    try:
        return _header(file.path).metadata
    except CheckpointError:
        return {}


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
