"""What modules were comes back to the bit, whatever their weights are kept in."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from models.networks.originals import begin, finish, keep, put_back

CPU = torch.device("cpu")
BITS = {torch.float32: torch.int32, torch.float16: torch.int16, torch.bfloat16: torch.int16}


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def linear(weight: Tensor, *, bias: bool = True) -> nn.Linear:
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=bias, dtype=weight.dtype)
    module.requires_grad_(False)
    module.weight.copy_(weight)
    return module


def bits(tensor: Tensor) -> Tensor:
    return tensor.clone().view(BITS[tensor.dtype])


def halves() -> Tensor:
    """Numbers that half precision has, its odd ones too."""
    odd = [0.0, -0.0, 6e-8, -65504.0, float("inf")]
    return torch.cat([torch.randn(59), torch.tensor(odd)]).half().reshape(8, 8)


WEIGHTS: dict[str, tuple[Callable[[], Tensor], int]] = {
    # how they are made, and the bytes that a number is kept in
    "float32 from half": (lambda: halves().float(), 2),
    "float32 from bfloat16": (lambda: torch.randn(8, 8).mul(1e6).bfloat16().float(), 2),
    "float32": (lambda: torch.randn(8, 8), 4),
    "float32, unlike half in its last number": (
        lambda: torch.cat([torch.zeros(8191), torch.tensor([1e-30 / 3])]).reshape(64, 128), 4,
    ),
    "float32 with not-a-number": (lambda: halves().float().fill_diagonal_(torch.nan), 4),
    "half": (halves, 2),
    "bfloat16": (lambda: torch.randn(8, 8).bfloat16(), 2),
}  # fmt: skip


@pytest.mark.parametrize("aside", (False, True))
@pytest.mark.parametrize(("made", "size"), WEIGHTS.values(), ids=WEIGHTS)
def test_a_module_is_what_it_was(made: Callable[[], Tensor], size: int, aside: bool) -> None:
    module = linear(made())
    weight, before = module.weight, bits(module.weight)
    bias = bits(module.bias)
    original = keep(module, aside=aside)
    if not aside:
        assert original.weight.nbytes == size * weight.numel()
    for first in (True, False, False):
        work, added = begin(module, original, first=first, device=CPU)
        assert work.dtype is torch.float32
        assert torch.equal(bits(work.to(weight.dtype)), before)
        assert added is not None
        finish(module, original, work.add_(1), added.mul_(3))
        assert not torch.equal(bits(module.weight), before)
        assert module.weight.dtype is weight.dtype
        assert (module.weight is weight) is not aside
    put_back(module, original)
    assert module.weight is weight
    assert torch.equal(bits(module.weight), before)
    assert torch.equal(bits(module.bias), bias)


@pytest.mark.parametrize("aside", (False, True))
def test_a_bias_comes_and_goes(aside: bool) -> None:
    module = linear(torch.randn(3, 2), bias=False)
    original = keep(module, aside=aside)
    for number in (1.0, 2.0):
        work, none = begin(module, original, first=False, device=CPU)
        assert none is None
        finish(module, original, work, torch.full((3,), number))
        assert module.bias.tolist() == [number] * 3
    finish(module, original, *begin(module, original, first=False, device=CPU))
    assert module.bias is None
    finish(module, original, begin(module, original, first=False, device=CPU)[0], torch.ones(3))
    put_back(module, original)
    assert module.bias is None


def test_what_was_put_aside_is_not_written_to() -> None:
    """Another checkpoint may use the same memory."""
    module, other = linear(torch.ones(2, 2)), linear(torch.ones(2, 2))
    other.weight, other.bias = module.weight, module.bias
    original = keep(module, aside=True)
    work, bias = begin(module, original, first=True, device=CPU)
    assert bias is not None
    finish(module, original, work.add_(1), bias.add_(1))
    assert torch.equal(other.weight, torch.ones(2, 2))
    assert torch.equal(module.weight, torch.full((2, 2), 2.0))
    assert torch.equal(module.bias, other.bias + 1)
