"""The one door to spandrel, which builds upscalers and face restorers from files of weights.

It is an extra: it may not be installed. It reads a network's sizes from the names and shapes of its
weights, and builds it before it compares the two; what a hostile file would have it build is found
out and refused here.
"""

import importlib
import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.overrides import TorchFunctionMode

from . import torchvision_ops as torchvision_ops  # before spandrel
from .catalog import SAFETENSORS
from .embeddings.pickles import BadPickle, unpickle
from .errors import CheckpointNotFound, CorruptCheckpoint, NoSpandrel, UnsupportedCheckpoint
from .families.weights import DAMAGE
from .header import MAX_TENSORS, OTHERS, read_header, shown

#: the largest files of this kind, AuraSR's, have 2.5 GB
MAX_BYTES = 4 << 30
#: the names, shapes and places of 50,000 tensors
MAX_PICKLE_BYTES = 8 << 20
#: DAT's windows are told by values; the largest published has 32
MAX_WINDOW = 64
_WINDOWS = "rpe_biases"
_NUMBER = re.compile(r"\d+")
_SPARE_LAYERS = 64
_SPARE_VALUES = 1 << 24
_MADE = frozenset(
    getattr(torch, name)
    for name in ("empty", "zeros", "ones", "full", "rand", "randn", "arange", "linspace", "eye")
)


def open_architecture(path: Path) -> Any:
    """The network of a file as spandrel's descriptor, on the CPU, in float32, for inference.

    Nothing in the file is run. Raises NoSpandrel, CheckpointNotFound, CorruptCheckpoint for damaged
    or hostile files, and UnsupportedCheckpoint for what spandrel does not know.
    """
    registry = _registry()
    spandrel = importlib.import_module("spandrel")
    tensors = _tensors(path, spandrel.canonicalize_state_dict)
    try:
        with warnings.catch_warnings(), _Bounded(path, tensors):
            # of torch's, over how the architectures are written
            warnings.simplefilter("ignore")
            descriptor = spandrel.ModelLoader(registry=registry).load_from_state_dict(tensors)
    except spandrel.UnsupportedModelError as error:
        raise UnsupportedCheckpoint(
            path, "is no upscaler or face restorer of a known architecture"
        ) from error
    except (*DAMAGE, MemoryError) as error:
        raise CorruptCheckpoint(
            path, f"its weights do not fit together ({type(error).__name__}: {error!s:.200})"
        ) from error
    return descriptor.eval()


def _registry() -> Any:
    """The architectures, those under licences of their own too. Raises NoSpandrel."""
    try:
        spandrel = importlib.import_module("spandrel")
        extra = importlib.import_module("spandrel_extra_arches")
    except ImportError as error:
        raise NoSpandrel from error
    registry = spandrel.MAIN_REGISTRY.copy()
    registry.add(*extra.EXTRA_REGISTRY, ignore_duplicates=True)
    return registry


def _tensors(path: Path, bare: Callable[[Any], Any]) -> dict[str, Tensor]:
    """The file's tensors by name, checked against what the file can hold, floats in float32."""
    content = _content(path)
    if path.suffix.lower() == SAFETENSORS:
        read_header(path)
        loaded: Any = _from_safetensors(path, content)
    else:
        loaded = _from_pickle(path, content)
    if not isinstance(loaded, dict):
        raise CorruptCheckpoint(path, "holds no table of tensors")
    tensors = {
        name: value.detach()
        for name, value in bare(loaded).items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    _check(path, tensors, len(content))
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UnsupportedCheckpoint(path, f"has more than {MAX_BYTES} bytes")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointNotFound(path, "no such file") from error
    except OSError as error:
        raise CorruptCheckpoint(path, f"cannot be read ({error.strerror})") from error


def _from_safetensors(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(content)
    except (SafetensorError, *DAMAGE) as error:
        raise CorruptCheckpoint(path, f"cannot be read ({error!s:.200})") from error


def _from_pickle(path: Path, content: bytes) -> object:
    try:
        return unpickle(content, MAX_PICKLE_BYTES)
    except BadPickle as error:
        kind = next((kind for start, kind in OTHERS.items() if content.startswith(start)), "")
        if kind and not content.startswith((b"PK", b"\x80")):
            raise CorruptCheckpoint(path, f"is {kind}") from error
        refused = isinstance(error.__cause__, pickle.UnpicklingError)
        raise (UnsupportedCheckpoint if refused else CorruptCheckpoint)(path, str(error)) from error


def _check(path: Path, tensors: Mapping[str, Tensor], length: int) -> None:
    """Refuse tensors that are more than the file holds, and names that ask for more layers."""
    if len(tensors) > MAX_TENSORS:
        raise CorruptCheckpoint(path, f"{len(tensors)} tensors; at most {MAX_TENSORS} are read")
    if sum(each.numel() * each.element_size() for each in tensors.values()) > length:
        raise CorruptCheckpoint(path, "its tensors are larger than the file")
    for name, tensor in tensors.items():
        numbers = [int(each[:18]) for each in _NUMBER.findall(name)]
        if max(numbers, default=0) > len(tensors) + _SPARE_LAYERS:
            raise CorruptCheckpoint(path, f"the tensor {shown(name)} has no layers before it")
        if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
            raise CorruptCheckpoint(path, f"the tensor {shown(name)} holds not-a-number values")
        if name.endswith(_WINDOWS) and tensor.numel() and tensor.abs().max() > MAX_WINDOW:
            raise CorruptCheckpoint(path, f"the tensor {shown(name)} is out of all proportion")


class _Bounded(TorchFunctionMode):
    """Lets a network be built that is about as large as the weights in its file."""

    def __init__(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._path = path
        self._values = 4 * sum(each.numel() for each in tensors.values()) + _SPARE_VALUES
        self._calls = _SPARE_LAYERS * (len(tensors) + _SPARE_LAYERS)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _MADE:
            self._count(func(*args, **{**kwargs, "device": "meta"}).numel())
        return func(*args, **kwargs)

    def _count(self, values: int) -> None:
        self._values -= values
        self._calls -= 1
        if self._values < 0 or self._calls < 0:
            raise CorruptCheckpoint(self._path, "its network would be larger than its weights")
