"""Convolutions that wrap around, and stop doing so."""

import pytest
import torch
from torch import nn

from models.tiling import set_tiling

from .families.variants import load_path
from .files import CHECKPOINTS


class Toy(nn.Module):
    """Convolutions of all sorts, one within another module."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.rest = nn.Sequential(
            nn.SiLU(), nn.Conv2d(4, 4, 5, padding=2, groups=2), nn.Tanh(), nn.Conv2d(4, 2, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.rest(self.first(x))
        return found


X = torch.randn((2, 3, 8, 12), generator=torch.Generator().manual_seed(1))
SHIFTS = [(1, 0), (0, 1), (3, -5), (-4, 6)]


def shifted(x: torch.Tensor, shift: tuple[int, int]) -> torch.Tensor:
    return torch.roll(x, shift, dims=(2, 3))


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_tiling_module_knows_no_borders(shift: tuple[int, int]) -> None:
    toy = Toy()
    set_tiling(toy, True)
    torch.testing.assert_close(toy(shifted(X, shift)), shifted(toy(X), shift))


@pytest.mark.parametrize("shift", SHIFTS)
def test_without_tiling_the_borders_are_seen(shift: tuple[int, int]) -> None:
    toy = Toy()
    set_tiling(toy, False)
    assert float((toy(shifted(X, shift)) - shifted(toy(X), shift)).detach().abs().max()) > 0.01


def test_the_middle_of_a_picture_is_the_same_either_way() -> None:
    toy = Toy()
    plain = toy(X)
    set_tiling(toy, True)
    around = toy(X)
    torch.testing.assert_close(around[..., 3:-3, 3:-3], plain[..., 3:-3, 3:-3])
    assert float((around - plain).detach().abs().max()) > 0.01


def test_tiling_comes_off_again_without_a_trace() -> None:
    toy = Toy()
    before = toy(X)
    modes = [layer.padding_mode for layer in toy.modules() if isinstance(layer, nn.Conv2d)]
    for tiling in (True, True, False, False):
        set_tiling(toy, tiling)
    assert torch.equal(toy(X), before)
    assert modes == ["zeros"] * 3
    assert [layer.padding_mode for layer in toy.modules() if isinstance(layer, nn.Conv2d)] == modes


@torch.inference_mode()
def test_a_real_unet_tiles() -> None:
    """By whole squares of the coarsest level, on which the others stand."""
    checkpoint = load_path(CHECKPOINTS / "tiny-sd15.safetensors")
    generator = torch.Generator().manual_seed(2)
    x = torch.randn((1, 4, 16, 16), generator=generator)
    context = torch.randn((1, 77, 16), generator=generator)
    timestep = torch.tensor([400.0])
    coarsest = 2 ** (len(checkpoint.unet.down_blocks) - 1)

    def drawn(latents: torch.Tensor) -> torch.Tensor:
        return checkpoint.predict(latents, timestep, context)

    plain, moved = drawn(x), (coarsest, -coarsest)
    set_tiling(checkpoint.unet, True)
    torch.testing.assert_close(
        drawn(shifted(x, moved)), shifted(drawn(x), moved), atol=1e-4, rtol=1e-4
    )
    set_tiling(checkpoint.unet, False)
    assert torch.equal(drawn(x), plain)
    assert float((drawn(shifted(x, moved)) - shifted(plain, moved)).abs().max()) > 0.01
