"""Weights that visit a device: the same numbers there, the same memory at home after."""

import weakref

import pytest
import torch
from torch import Tensor, nn

from models.memory import give_back
from models.offload import Guest, Visits, copied

CPU = torch.device("cpu")


def made(width: int = 4) -> nn.Sequential:
    """Two layers in one memory, and a buffer."""
    module = nn.Sequential(nn.Linear(width, width), nn.Linear(width, width))
    module.register_buffer("numbers", torch.arange(3))
    block = torch.randn(2 * width * (width + 1))
    offset = 0
    for layer in module:
        for name, tensor in list(layer.named_parameters()):
            view = block[offset : offset + tensor.numel()].view(tensor.shape)
            setattr(layer, name, nn.Parameter(view, requires_grad=False))
            offset += tensor.numel()
    return module


def weight(module: nn.Module, layer: int) -> nn.Parameter:
    return module.get_parameter(f"{layer}.weight")


def places(module: nn.Module) -> list[int]:
    return [tensor.data_ptr() for tensor in module.state_dict().values()]


def test_a_visit_is_a_copy_and_home_is_as_it_was() -> None:
    module = made()
    before, home = {k: v.clone() for k, v in module.state_dict().items()}, places(module)
    guest = Guest(module, CPU, at_home=True)
    guest.leave()
    assert places(module) == home
    guest.arrive()
    away = places(module)
    assert not set(away) & set(home)
    guest.arrive()
    assert places(module) == away
    assert all(torch.equal(module.state_dict()[name], value) for name, value in before.items())
    assert isinstance(module[0]._parameters["weight"], nn.Parameter)
    guest.leave()
    assert places(module) == home
    assert all(torch.equal(module.state_dict()[name], value) for name, value in before.items())


def test_what_a_visit_took_is_free_after_it() -> None:
    module = made()
    guest = Guest(module, CPU, at_home=True)
    guest.arrive()
    visiting = weakref.ref(weight(module, 0))
    guest.leave()
    assert visiting() is None


def test_one_that_was_on_the_device_first_is_copied_home_once() -> None:
    module = made()
    first = places(module)
    guest = Guest(module, CPU, at_home=False)
    guest.arrive()
    assert places(module) == first
    guest.leave()
    home = places(module)
    assert not set(first) & set(home)
    guest.arrive()
    guest.leave()
    assert places(module) == home


def test_what_was_changed_at_home_is_what_visits() -> None:
    module = made()
    guest = Guest(module, CPU, at_home=True)
    guest.arrive()
    guest.leave()
    with torch.no_grad():
        weight(module, 0).fill_(3)
    five = nn.Parameter(torch.full((4, 4), 5.0), requires_grad=False)
    module[1].register_parameter("weight", five)
    guest.arrive()
    assert weight(module, 0).eq(3).all()
    assert weight(module, 1).eq(5).all()


def test_another_number_format_is_kept() -> None:
    module = made().half()
    guest = Guest(module, CPU, at_home=True)
    guest.arrive()
    module.float()
    guest.leave()
    assert weight(module, 0).dtype is torch.float32
    guest.arrive()
    assert weight(module, 0).dtype is torch.float32


def test_copies_of_one_memory_share_one_and_take_no_more_than_they_use() -> None:
    memory = torch.arange(1000, dtype=torch.float32)
    views = [memory[100:110].view(2, 5), memory[120:126].view(2, 3).T]
    copies = copied([*views, torch.ones(2)], CPU)
    assert torch.equal(copies[0], views[0])
    assert torch.equal(copies[1], views[1])
    assert copies[1].stride() == views[1].stride()
    assert copies[0].untyped_storage().data_ptr() == copies[1].untyped_storage().data_ptr()
    assert copies[0].untyped_storage().nbytes() == 26 * 4
    assert copies[2].tolist() == [1, 1]


class Log:
    """Which of some modules are where they were at home."""

    def __init__(self, **modules: nn.Module) -> None:
        self._home = {name: (module, places(module)) for name, module in modules.items()}

    def away(self) -> list[str]:
        return [name for name, (module, home) in self._home.items() if places(module) != home]


def test_one_part_at_a_time_is_on_the_device() -> None:
    unet, vae = made(), made()
    log = Log(unet=unet, vae=vae)
    visits = Visits(CPU)
    visits.add(unet)
    visits.add(vae)
    x, seen = torch.randn(1, 4), []
    wanted = [unet(x), vae[0](x)]
    unet[1].register_forward_hook(lambda *_: seen.append(log.away()))
    assert torch.equal(unet(x), wanted[0])
    # a part is there too when only a child of it is asked, as an autoencoder's decoder is
    assert torch.equal(vae[0](x), wanted[1])
    assert seen == [["unet"]]
    assert log.away() == ["vae"]
    visits.go_home()
    assert log.away() == []
    visits.remove(vae)
    assert torch.equal(vae[0](x), wanted[1])
    assert log.away() == []


class Blocks(nn.Module):
    """In the outline of a UNet: children, and lists of them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = made()
        self.down_blocks = nn.ModuleList([made(), made()])

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        return x


def test_a_unet_comes_block_by_block() -> None:
    unet = Blocks()
    first, second = unet.down_blocks
    log = Log(conv_in=unet.conv_in, first=first, second=second)
    x, seen = torch.randn(1, 4), []
    wanted = unet(x)
    for block in (unet.conv_in, first, second):
        block.get_submodule("0").register_forward_hook(lambda *_: seen.append(log.away()))
    visits = Visits(CPU, in_blocks=True)
    visits.add(unet, blocks=True)
    assert torch.equal(unet(x), wanted)
    assert seen == [["conv_in"], ["first"], ["second"]]
    assert log.away() == []


def test_a_block_leaves_after_an_error_too() -> None:
    unet = Blocks()
    log = Log(conv_in=unet.conv_in)
    visits = Visits(CPU, in_blocks=True)
    visits.add(unet, blocks=True)
    with pytest.raises(RuntimeError):
        unet(torch.randn(1, 7))
    assert log.away() == []


@pytest.mark.gpu
def test_a_gpu_is_visited_and_left_empty() -> None:
    device = torch.device("cuda")
    give_back(device)
    floor = torch.cuda.memory_allocated(device)
    module = made(512)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    x = torch.randn(3, 512)
    guest = Guest(module, device, at_home=True)
    guest.arrive()
    assert weight(module, 0).device.type == "cuda"
    assert torch.equal(weight(module, 1).cpu(), before["1.weight"])
    assert torch.allclose(module(x.to(device)).cpu(), made_from(before)(x), atol=1e-3)
    guest.leave()
    assert weight(module, 0).is_pinned()
    assert torch.equal(weight(module, 0), before["0.weight"])
    give_back(device)
    assert torch.cuda.memory_allocated(device) == floor


def made_from(state: dict[str, Tensor]) -> nn.Sequential:
    module = made(512)
    module.load_state_dict(state)
    return module
