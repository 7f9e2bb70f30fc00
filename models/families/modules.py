"""Empty modules, and how a file's tensors come into them."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import nn

from ..errors import CorruptCheckpoint, UnsupportedCheckpoint
from ..header import TensorEntry
from .weights import FLOATS, Weights

Rename = Callable[[str], str | None]
Built = TypeVar("Built", bound=nn.Module)


def build(make: Callable[[], Built], weights: Weights) -> Built:
    """Make a module without memory for its parameters. Raises UnsupportedCheckpoint."""
    try:
        with torch.device("meta"):
            return make()
    except (ValueError, TypeError, RuntimeError, ZeroDivisionError) as error:
        raise UnsupportedCheckpoint(
            weights.path, f"no model can be built with its dimensions ({error})"
        ) from error


def fill(
    module: nn.Module,
    weights: Weights,
    prefix: str,
    rename: Rename,
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> None:
    """Give an empty module the tensors of one part of the file, ready for inference.

    Every parameter must be there in its shape, and nothing unknown beside them. Raises
    CorruptCheckpoint and UnsupportedCheckpoint.
    """
    expected = module.state_dict()
    names = _match(expected, weights, prefix, rename)
    state = {
        target: weights.read(name).reshape(expected[target].shape).to(device=device, dtype=dtype)
        for target, name in names.items()
    }
    module.load_state_dict(state, strict=True, assign=True)
    module.eval().requires_grad_(False)


def _match(
    expected: Mapping[str, torch.Tensor], weights: Weights, prefix: str, rename: Rename
) -> dict[str, str]:
    """Find the file's name of each parameter, and check all of them before any is read."""
    names: dict[str, str] = {}
    unknown: list[str] = []
    for name, entry in weights.header.tensors.items():
        if not name.startswith(prefix):
            continue
        target = rename(name.removeprefix(prefix))
        if target is None or target not in expected:
            unknown.append(name)
            continue
        _check(weights, name, entry, tuple(expected[target].shape))
        names[target] = name
    missing = [target for target in expected if target not in names]
    if missing:
        raise CorruptCheckpoint(
            weights.path, f"{len(missing)} tensors are missing under {prefix!r}: {_some(missing)}"
        )
    if unknown:
        raise UnsupportedCheckpoint(
            weights.path, f"{len(unknown)} tensors have no place in the model: {_some(unknown)}"
        )
    return names


def _check(weights: Weights, name: str, entry: TensorEntry, wanted: tuple[int, ...]) -> None:
    # A 1x1 convolution and a linear layer hold the same matrix.
    if _matrix(entry.shape) != _matrix(wanted):
        raise CorruptCheckpoint(
            weights.path, f"tensor {name!r} has the shape {entry.shape}, the model needs {wanted}"
        )
    if entry.dtype not in FLOATS:
        raise UnsupportedCheckpoint(
            weights.path, f"tensor {name!r} is {entry.dtype}; supported: {', '.join(FLOATS)}"
        )


def _matrix(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:2] if shape[2:] == (1, 1) else shape


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
