"""Hashes that a webui computed: its `cache.json` is taken over where it is found; torch-free."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import structlog

from .folders import Stamp
from .hashing import SHA256, HashCache
from .library import Library
from .networks.files import PAYLOAD

log = structlog.get_logger(__name__)

FILE_NAME = "cache.json"
#: the metadata of LoRAs is in it too, and can be large
_MOST_BYTES = 256 << 20
#: the fact about a cache.json that it was taken over
_TAKEN = "taken over"
_DIGEST = re.compile(r"[0-9a-f]{64}")
#: seconds by which a time of change may differ: JSON rounds
_ROUNDING = 1e-3
_LATEST = 1 << 40

_Files = Mapping[str, tuple[Path, Stamp]]


def take_over(path: Path, library: Library, hashes: HashCache) -> int:
    """Give `hashes` what a webui's cache.json knows of the library's files; how many there were.

    Its entries count only for files that have not changed since. A file that is not there, that was
    taken over before, or that is none is no error. Networks are known by the hash of their weights
    ("hashes-addnet"), or as a whole where they are pickles.
    """
    stamp = Stamp.of(path)
    if stamp is None or hashes.told(path, stamp, _TAKEN) is not None:
        return 0
    content = _content(path, stamp)
    checkpoints, vaes, networks = _checkpoints(library), _vaes(library), _networks(library)
    whole = _table(content, "hashes")
    pickles = {name: file for name, file in networks.items() if not _is_safetensors(file[0])}
    sound = {name: file for name, file in networks.items() if name not in pickles}
    count = 0
    with hashes.together():
        for table, kind, files, fact in (
            (whole, "checkpoint", checkpoints, SHA256),
            (whole, "vae", vaes, SHA256),
            (whole, "lora", pickles, PAYLOAD),
            (_table(content, "hashes-addnet"), "lora", sound, PAYLOAD),
        ):
            for file, digest in _known(table, kind, files):
                hashes.put(*file, digest, fact)
                count += 1
        hashes.put(path, stamp, str(count), _TAKEN)
    log.info("hashes of a webui taken over", path=str(path), files=count)
    return count


def _content(path: Path, stamp: Stamp) -> Mapping[str, object]:
    """The table that the file holds; empty, with a warning, where it holds none."""
    reason = "no JSON object"
    if stamp.size > _MOST_BYTES:
        reason = f"{stamp.size} bytes; at most {_MOST_BYTES} are read"
    else:
        try:
            with path.open("rb") as file:
                content = json.loads(file.read(_MOST_BYTES))
        except (OSError, ValueError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}"
        else:
            if isinstance(content, dict):
                return content
    log.warning("hashes of a webui not taken over", path=str(path), reason=reason)
    return MappingProxyType({})


def _table(content: Mapping[str, object], name: str) -> Mapping[str, object]:
    table = content.get(name)
    return table if isinstance(table, dict) else MappingProxyType({})


def _known(
    table: Mapping[str, object], kind: str, files: _Files
) -> Iterator[tuple[tuple[Path, Stamp], str]]:
    """The files that `table` has a proper hash of, as they are now."""
    for key, entry in table.items():
        found_kind, _, name = key.replace("\\", "/").partition("/")
        file = files.get(name) if found_kind == kind else None
        match entry:
            case {"mtime": int() | float() as mtime, "sha256": str(digest)} if file is not None:
                # an integer of JSON may be too large for a float
                same = abs(mtime) < _LATEST and abs(mtime - file[1].mtime_ns / 1e9) < _ROUNDING
                if same and _DIGEST.fullmatch(digest):
                    yield file, digest


def _checkpoints(library: Library) -> _Files:
    listed = library.checkpoints.checkpoints()
    return {info.name: (info.path, info.stamp) for info in listed if info.stamp is not None}


def _vaes(library: Library) -> _Files:
    listed = library.vaes.vaes()
    return {info.name: (info.path, info.stamp) for info in listed if info.stamp is not None}


def _networks(library: Library) -> _Files:
    listed = library.networks.networks()
    return {info.name: (info.path, info.stamp) for info in listed if info.stamp is not None}


def _is_safetensors(path: Path) -> bool:
    return os.path.splitext(path)[1].lower() == ".safetensors"
