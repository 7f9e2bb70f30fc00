"""Weights that are at home in RAM and come to a GPU when they are needed."""

import itertools
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .families.filling import block

#: cudaHostRegister's answer when it is done
_DONE = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Slot:
    """Where a module keeps one of its tensors."""

    table: dict[str, Any]
    name: str

    @property
    def tensor(self) -> Tensor:
        """What is there now."""
        found: Tensor = self.table[self.name]
        return found

    def put(self, tensor: Tensor) -> None:
        """Keep another one there, as a parameter where one was."""
        if isinstance(self.tensor, nn.Parameter) and not isinstance(tensor, nn.Parameter):
            tensor = nn.Parameter(tensor, requires_grad=False)
        self.table[self.name] = tensor


class Guest:
    """A module that stays at home in RAM and visits a device as a copy.

    Going home copies nothing: weights are not changed on a visit, but for their number format. One
    that was not `at_home` from the first is copied home once.
    """

    def __init__(self, module: nn.Module, device: torch.device, *, at_home: bool) -> None:
        """Take `module` where it is; visits are to `device`."""
        self._module = module
        self._device = device
        self._away = not at_home
        self._home: list[Tensor] | None = None
        self._pinned: list[torch.UntypedStorage] = []
        weakref.finalize(self, _unpin, self._pinned)

    def arrive(self) -> None:
        """Put a copy on the device, all of it in the order of the device's work."""
        if self._away:
            return
        slots = list(_slots(self._module))
        self._home = [slot.tensor for slot in slots]
        self._pin(self._home)
        for slot, copy in zip(slots, copied(self._home, self._device), strict=True):
            slot.put(copy)
        self._away = True

    def leave(self) -> None:
        """Go home; what was on the device is freed."""
        if not self._away:
            return
        slots = list(_slots(self._module))
        here = [slot.tensor for slot in slots]
        home = copied(here, torch.device("cpu")) if self._home is None else self._home
        for slot, mine, visitor in zip(slots, home, here, strict=True):
            # An autoencoder may have gone over to float32 on its visit.
            slot.put(mine if mine.dtype is visitor.dtype else mine.to(visitor.dtype))
        self._away = False

    def _pin(self, tensors: Iterable[Tensor]) -> None:
        """Lock the home in RAM, so that the GPU can fetch it by itself."""
        if self._device.type != "cuda":
            return
        known = {storage.data_ptr() for storage in self._pinned}
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if storage.device.type == "cpu" and storage.data_ptr() not in known:
                known.add(storage.data_ptr())
                if _cudart().cudaHostRegister(storage.data_ptr(), storage.nbytes(), 0) == _DONE:
                    self._pinned.append(storage)


class Visits:
    """Has one part of a checkpoint on the device at a time: the one that runs."""

    def __init__(self, device: torch.device, *, in_blocks: bool = False) -> None:
        """With `in_blocks` a UNet comes block by block, and never whole."""
        self._device = device
        self._in_blocks = in_blocks
        self._guests: dict[nn.Module, list[Guest]] = {}

    def add(self, part: nn.Module, *, blocks: bool = False) -> None:
        """Let `part`, which is in RAM, come to the device whenever it or a child of it runs.

        With `blocks` its children come one by one, where that is wanted.
        """
        if blocks and self._in_blocks:
            self._guests[part] = [self._alone(child) for child in _blocks(part)]
        else:
            self._guests[part] = [Guest(part, self._device, at_home=True)]
        for module in (part, *part.children()):
            module.register_forward_pre_hook(partial(self._enter, weakref.ref(part)))

    def remove(self, part: nn.Module) -> None:
        """Forget a part that is not run any more."""
        self._guests.pop(part, None)

    def go_home(self) -> None:
        """Have nothing on the device."""
        for guest in itertools.chain.from_iterable(self._guests.values()):
            guest.leave()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _enter(self, wanted: "weakref.ref[nn.Module]", module: nn.Module, inputs: object) -> None:
        part = wanted()
        for other, guests in self._guests.items():
            if other is not part:
                for guest in guests:
                    guest.leave()
        mine = [] if part is None else self._guests.get(part, [])
        if len(mine) == 1:
            mine[0].arrive()

    def _alone(self, child: nn.Module) -> Guest:
        """A block that comes before it runs and leaves after it."""
        guest = Guest(child, self._device, at_home=True)
        child.register_forward_pre_hook(lambda module, inputs: guest.arrive())
        child.register_forward_hook(lambda module, inputs, output: guest.leave(), always_call=True)
        return guest


@torch.inference_mode(False)
def copied(tensors: Iterable[Tensor], device: torch.device) -> list[Tensor]:
    """Copies on a device, in the order of its work; those of one memory share one copy of it."""
    tensors = [tensor.detach() for tensor in tensors]
    spans: dict[int, tuple[int, int]] = {}
    for tensor in tensors:
        key, (start, end) = tensor.untyped_storage().data_ptr(), _span(tensor)
        known = spans.get(key, (start, end))
        spans[key] = min(known[0], start), max(known[1], end)
    made: dict[int, Tensor] = {}
    found: list[Tensor] = []
    for tensor in tensors:
        storage = tensor.untyped_storage()
        start, end = spans[storage.data_ptr()]
        if storage.data_ptr() not in made:
            every = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage)
            made[storage.data_ptr()] = block(end - start, device)
            made[storage.data_ptr()].copy_(every[start:end], non_blocking=device.type == "cuda")
        memory = made[storage.data_ptr()].untyped_storage()
        offset = (_span(tensor)[0] - start) // tensor.itemsize
        like = torch.empty(0, dtype=tensor.dtype, device=device)
        found.append(like.set_(memory, offset, tensor.shape, tensor.stride()))
    return found


def _span(tensor: Tensor) -> tuple[int, int]:
    """The first byte of its storage that a tensor uses, and the one after its last."""
    start = int(tensor.storage_offset()) * tensor.itemsize
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    last = sum((size - 1) * stride for size, stride in steps) if tensor.numel() else -1
    return start, start + int(last + 1) * tensor.itemsize


def _slots(module: nn.Module) -> Iterator[_Slot]:
    for each in module.modules():
        for table in (each._parameters, each._buffers):
            yield from (_Slot(table, name) for name, value in table.items() if value is not None)


def _blocks(unet: nn.Module) -> Iterator[nn.Module]:
    """A UNet's children, those of its lists one by one."""
    for child in unet.children():
        yield from child if isinstance(child, nn.ModuleList) else (child,)


def _unpin(storages: list[torch.UntypedStorage]) -> None:
    for storage in storages:
        _cudart().cudaHostUnregister(storage.data_ptr())


def _cudart() -> Any:
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]
