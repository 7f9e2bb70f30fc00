"""Empty modules, and how a file's tensors come into them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from ..errors import CorruptCheckpoint, UnsupportedCheckpoint
from ..header import TensorEntry
from .filling import Locate, Piece, equal_pieces, laid_out, read_pieces
from .weights import FLOATS, Weights


@dataclass(frozen=True, slots=True)
class Targets:
    """Where one tensor of a file belongs that is not simply a parameter itself.

    It is cut along its first side into as many parameters as there are names (none: it is known
    and of no use), or it is one parameter `transposed`.
    """

    names: tuple[str, ...]
    transposed: bool = False


UNUSED = Targets(())
Rename = Callable[[str], str | Targets | None]
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


# the threads that read know nothing of the caller's inference mode, and may not write its tensors
@torch.inference_mode(False)
def fill(
    module: nn.Module,
    weights: Weights,
    prefix: str,
    rename: Rename,
    *,
    device: torch.device,
    dtype: torch.dtype,
    channels_last: bool = False,
) -> None:
    """Give an empty module the tensors of one part of the file, ready for inference.

    They are read straight into one block of memory, which goes back whole. A part of the weights'
    stock that is equal to the bit is shared instead, but for a UNet: networks are put onto that one
    in place. Every parameter must be there in its shape, and nothing unknown beside them. Raises
    CorruptCheckpoint and UnsupportedCheckpoint.
    """
    expected = module.state_dict()
    found = _match(expected, weights, prefix, rename)
    shareable = not isinstance(module, UNet2DConditionModel)
    state = _shared(expected, found, weights, dtype, device) if shareable else None
    if state is None:
        shapes = [tuple(tensor.shape) for tensor in expected.values()]
        room = laid_out(shapes, dtype, device, channels_last=channels_last)
        state = dict(zip(expected, room, strict=True))
        _read(weights, found, state)
    module.load_state_dict(state, strict=True, assign=True)
    module.eval().requires_grad_(False)


def _shared(
    expected: Mapping[str, Tensor],
    found: Mapping[str, Targets],
    weights: Weights,
    dtype: torch.dtype,
    device: torch.device,
) -> dict[str, Tensor] | None:
    """The tensors of a loaded part that are equal to the file's; the first unlike one is enough."""
    if weights.locate is None or weights.stock is None:
        return None
    for part in list(weights.stock.parts):
        if part.fits(expected, dtype, device):
            if equal_pieces(_pieces(weights, weights.locate, found, part.tensors)):
                return dict(part.tensors)
            weights.stock.parts.remove(part)
    return None


def _read(weights: Weights, found: Mapping[str, Targets], state: Mapping[str, Tensor]) -> None:
    if weights.locate is not None:
        read_pieces(_pieces(weights, weights.locate, found, state))
        return
    for name, targets in found.items():
        value = weights.read(name)
        value = value.T if targets.transposed else value
        parts = value.chunk(len(targets.names)) if len(targets.names) > 1 else (value,)
        for target, part in zip(targets.names, parts, strict=True):
            state[target].copy_(part.reshape(state[target].shape))


def _pieces(
    weights: Weights, locate: Locate, found: Mapping[str, Targets], state: Mapping[str, Tensor]
) -> Iterator[Piece]:
    for name, targets in found.items():
        source, position = locate(name)
        dtype = FLOATS[weights.header.tensors[name].dtype]
        for target in targets.names:
            tensor = state[target]
            yield Piece(
                source=source,
                position=position,
                dtype=dtype,
                target=tensor.T if targets.transposed else tensor,
            )
            position += tensor.numel() * dtype.itemsize


def _match(
    expected: Mapping[str, Tensor], weights: Weights, prefix: str, rename: Rename
) -> dict[str, Targets]:
    """Find where each of the file's tensors belongs, and check all of them before any is read."""
    found: dict[str, Targets] = {}
    unknown: list[str] = []
    for name, entry in weights.header.tensors.items():
        if not name.startswith(prefix):
            continue
        target = rename(name.removeprefix(prefix))
        targets = Targets((target,)) if isinstance(target, str) else target
        if targets is None or not all(each in expected for each in targets.names):
            unknown.append(name)
        elif targets.names:
            _check(weights, name, entry, _stored(expected[targets.names[0]].shape, targets))
            found[name] = targets
    named = {each for targets in found.values() for each in targets.names}
    missing = [target for target in expected if target not in named]
    if missing:
        raise CorruptCheckpoint(
            weights.path, f"{len(missing)} tensors are missing under {prefix!r}: {_some(missing)}"
        )
    if unknown:
        raise UnsupportedCheckpoint(
            weights.path, f"{len(unknown)} tensors have no place in the model: {_some(unknown)}"
        )
    return found


def _stored(wanted: Sequence[int], targets: Targets) -> tuple[int, ...]:
    """The shape in the file of what becomes parameters of the shape `wanted`."""
    if targets.transposed:
        return tuple(reversed(wanted))
    if len(targets.names) == 1:
        return tuple(wanted)
    return (len(targets.names) * wanted[0], *wanted[1:])


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
