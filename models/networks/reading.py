"""A network file's tensors, sorted by the module they change."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import UnsupportedCheckpoint
from ..families.weights import FLOATS, Weights, open_weights
from ..identify import identify
from .names import split_key

#: what is read of one file; a network of every weight of SDXL in half precision is smaller
MAX_BYTES = 8 << 30
EMBEDDING = "bundle_emb."
VECTORS = "string_to_param."
#: the parts of an embedding for two text encoders, in the encoders' order
PAIR = ("clip_l", "clip_g")
#: what networks keep beside their weights, as safetensors spells its type
WHOLE: Mapping[str, torch.dtype] = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "U16": torch.uint16,
    "I32": torch.int32,
    "I64": torch.int64,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NetworkFile:
    """What is in a file, on the CPU.

    `changes` holds the parts of each module's change, by the module's name as the file spells it,
    and `strangers` the names that were not wanted; `embeddings` the vectors [n, width] of each
    embedding in it, by name, for each text encoder; `unknown` the keys that are none of these.
    """

    changes: Mapping[str, Mapping[str, Tensor]]
    embeddings: Mapping[str, tuple[Tensor, ...]]
    unknown: tuple[str, ...]
    strangers: tuple[str, ...] = ()


def read_network(
    path: Path, *, allow_pickle: bool, wanted: Callable[[str], bool] = bool
) -> NetworkFile:
    """Read a network file, of its changes those of the modules whose names are `wanted`, or all.

    Raises CheckpointNotFound, CorruptCheckpoint and UnsupportedCheckpoint.
    """
    changes: dict[str, dict[str, Tensor]] = {}
    embeddings: dict[str, dict[str, Tensor]] = {}
    strangers: dict[str, None] = {}
    unknown: list[str] = []
    with open_weights(path, allow_pickle=allow_pickle) as weights:
        kind = identify(weights.header)
        if kind.family is not None:
            raise UnsupportedCheckpoint(path, f"a whole model ({kind.name}), not a network")
        read = _Reader(weights)
        for key in weights.header.tensors:
            found = split_key(key)
            if key.startswith(EMBEDDING):
                name, _, part = key.removeprefix(EMBEDDING).partition(".")
                embeddings.setdefault(name, {})[part] = read(key)
            elif found is not None and not wanted(found[0]):
                strangers[found[0]] = None
            elif found is None or not _is_plain(tensor := read(key)):
                unknown.append(key)
            else:
                changes.setdefault(found[0], {})[found[1]] = tensor
    whole = {name: _vectors(parts) for name, parts in embeddings.items()}
    return NetworkFile(
        changes=changes,
        embeddings={name: vectors for name, vectors in whole.items() if vectors},
        unknown=(*unknown, *(EMBEDDING + name for name, vectors in whole.items() if not vectors)),
        strangers=tuple(strangers),
    )


class _Reader:
    """Reads a file's tensors, until they are too many."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._left = MAX_BYTES

    def __call__(self, key: str) -> Tensor:
        """Read one; what is no number that counts here comes as complex nothing.

        Raises CorruptCheckpoint and UnsupportedCheckpoint.
        """
        entry, locate = self._weights.header.tensors[key], self._weights.locate
        if locate is None:
            return self._weights.read(key)
        dtype = FLOATS.get(entry.dtype, WHOLE.get(entry.dtype))
        if dtype is None:
            return torch.empty(0, dtype=torch.complex64)
        self._left -= math.prod(entry.shape) * dtype.itemsize
        if self._left < 0:
            reason = f"more than {MAX_BYTES} bytes; no network is so big"
            raise UnsupportedCheckpoint(self._weights.path, reason)
        tensor = torch.empty(entry.shape, dtype=dtype)
        source, position = locate(key)
        source.read(position, tensor)
        return tensor


def _is_plain(tensor: Tensor) -> bool:
    return not tensor.is_complex() and not tensor.is_quantized


def _vectors(parts: Mapping[str, Tensor]) -> tuple[Tensor, ...] | None:
    """An embedding's vectors for each text encoder, from the parts that a file has under a name."""
    terms = [part for name, part in parts.items() if name.startswith(VECTORS)]
    if parts.keys() >= set(PAIR):
        terms = [parts[name] for name in PAIR]
    elif len(terms) != 1:
        return None
    if any(not term.is_floating_point() or term.dim() not in (1, 2) for term in terms):
        return None
    vectors = tuple(term.float().reshape(-1, term.shape[-1]) for term in terms)
    same = len({len(each) for each in vectors}) == 1 and all(each.numel() for each in vectors)
    return vectors if same and all(bool(each.isfinite().all()) for each in vectors) else None
