"""A network file's tensors, sorted by the module they change."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from ..catalog import SAFETENSORS
from ..errors import CheckpointNotFound, CorruptCheckpoint, UnsupportedCheckpoint
from ..families.weights import open_weights
from ..header import read_header
from .names import split_key

#: a network of every weight of an SD1 model in float64 is smaller
MAX_BYTES = 10 << 30
EMBEDDING = "bundle_emb."
VECTORS = "string_to_param."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NetworkFile:
    """What is in a file, on the CPU.

    `changes` holds the parts of each module's change, by the module's name as the file spells it;
    `embeddings` the vectors [n, width] of each embedding in it, by name; `unknown` the keys that
    are neither.
    """

    changes: Mapping[str, Mapping[str, Tensor]]
    embeddings: Mapping[str, Tensor]
    unknown: tuple[str, ...]


def read_network(path: Path, *, allow_pickle: bool) -> NetworkFile:
    """Read a network file.

    Raises CheckpointNotFound, CorruptCheckpoint and UnsupportedCheckpoint.
    """
    changes: dict[str, dict[str, Tensor]] = {}
    embeddings: dict[str, Tensor] = {}
    unknown: list[str] = []
    for key, tensor in _tensors(path, allow_pickle).items():
        found = split_key(key)
        if key.startswith(EMBEDDING):
            name, vectors = _embedding(key, tensor)
            if vectors is None:
                unknown.append(key)
            else:
                embeddings[name] = vectors
        elif found is None or tensor.is_complex() or tensor.is_quantized:
            unknown.append(key)
        else:
            changes.setdefault(found[0], {})[found[1]] = tensor
    return NetworkFile(changes=changes, embeddings=embeddings, unknown=tuple(unknown))


def _tensors(path: Path, allow_pickle: bool) -> Mapping[str, Tensor]:
    if path.suffix.lower() != SAFETENSORS:
        with open_weights(path, allow_pickle=allow_pickle) as weights:
            return {name: weights.read(name) for name in weights.header.tensors}
    read_header(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise CheckpointNotFound(path, "no such file") from error
    except OSError as error:
        raise CorruptCheckpoint(path, f"cannot be read ({error.strerror})") from error
    if len(content) > MAX_BYTES:
        raise UnsupportedCheckpoint(path, f"more than {MAX_BYTES >> 30} GiB; no network is so big")
    try:
        return safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise CorruptCheckpoint(path, f"cannot be read ({error})") from error


def _embedding(key: str, tensor: Tensor) -> tuple[str, Tensor | None]:
    """The name and the vectors that a key `bundle_emb.NAME.string_to_param.*` stands for."""
    name, _, rest = key.removeprefix(EMBEDDING).partition(".")
    # An embedding for two encoders (`clip_l` and `clip_g`) is none for SD1.
    if not rest.startswith(VECTORS) or tensor.dim() not in (1, 2) or not tensor.is_floating_point():
        return name, None
    return name, tensor.reshape(-1, tensor.shape[-1])
