"""What a checkpoint's modules were before networks were put on them, kept to the bit."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

# What weights that run in float32 mostly were in their file.
_NARROW = (torch.float16, torch.bfloat16)
# So many numbers tell nearly always whether all would be the same in a narrower type.
_GLANCE = 4096


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Original:
    """A module's parameters as its checkpoint has them.

    `aside` ones are the module's own, which then are not written to. Others are copies on the CPU,
    in the narrowest type that holds them to the bit, and the module's own are written to.
    """

    weight: Tensor
    bias: Tensor | None
    aside: bool

    @property
    def nbytes(self) -> int:
        """The memory that would be free without it."""
        return self.weight.nbytes + (0 if self.bias is None else self.bias.nbytes)


def keep(module: nn.Module, *, aside: bool) -> Original:
    """Keep a module's parameters: `aside` where others share their memory, else as copies."""
    weight, bias = module.get_parameter("weight"), module._parameters.get("bias")
    if aside:
        return Original(weight=weight, bias=bias, aside=True)
    copied = None if bias is None else _copy(bias)
    return Original(weight=_copy(weight), bias=copied, aside=False)


def begin(
    module: nn.Module, original: Original, *, first: bool, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """The original's weight and bias in float32 on a device, to be changed in place.

    Where that can be, the weight is the module's own; `first` says that this is still as it was.
    """
    own = module.get_parameter("weight")
    bias = None if original.bias is None else _fresh(original.bias, device)
    if original.aside or own.dtype is not torch.float32 or own.device.type != device.type:
        return _fresh(original.weight, device), bias
    return own if first else own.copy_(original.weight), bias


def finish(module: nn.Module, original: Original, weight: Tensor, bias: Tensor | None) -> None:
    """Give a module what `begin` gave, changed, in its own type; without `bias` it has none."""
    own = module.get_parameter("weight")
    if original.aside:
        _register(module, "weight", weight.to(own.device, own.dtype))
    elif weight is not own:
        own.copy_(weight)
    _set_bias(module, original, None if bias is None else bias.to(own.device, own.dtype))


def put_back(module: nn.Module, original: Original) -> None:
    """Make a module what it was."""
    if original.aside:
        _register(module, "weight", original.weight)
    else:
        module.get_parameter("weight").copy_(original.weight)
    _set_bias(module, original, original.bias)


def _set_bias(module: nn.Module, original: Original, bias: Tensor | None) -> None:
    own = module._parameters.get("bias")
    if bias is not None and own is not None and not original.aside:
        own.copy_(bias)
    elif bias is not own:
        like = module.get_parameter("weight")
        _register(module, "bias", None if bias is None else bias.to(like.device, like.dtype))


def _register(module: nn.Module, name: str, tensor: Tensor | None) -> None:
    if tensor is not None and not isinstance(tensor, nn.Parameter):
        tensor = nn.Parameter(tensor, requires_grad=False)
    module.register_parameter(name, tensor)


def _fresh(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy to compute with, row by row however the module's own lies."""
    plain = torch.contiguous_format
    return tensor.detach().to(device, torch.float32, copy=True, memory_format=plain)


def _copy(tensor: Tensor) -> Tensor:
    """A copy on the CPU, in half the memory where that holds every bit of it."""
    if tensor.dtype is torch.float32:
        for dtype in _NARROW:
            if _narrowed(tensor.flatten()[:_GLANCE], dtype) is not None:
                narrow = _narrowed(tensor, dtype)
                if narrow is not None:
                    return narrow.to("cpu")
    return tensor.detach().to("cpu", copy=True)


def _narrowed(tensor: Tensor, dtype: torch.dtype) -> Tensor | None:
    """The tensor in another type where that is the same; with NaN it never is."""
    narrow = tensor.detach().to(dtype)
    return narrow if torch.equal(narrow.to(tensor.dtype), tensor) else None
