"""Networks of real architectures: what they make of pictures, in tiles, short of memory."""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from models.architectures import open_architecture
from models.errors import NansException
from models.upscalers import network as networks
from models.upscalers.colours import TooManyPixels
from models.upscalers.network import NetworkUpscaler, open_upscaler
from models.upscalers.tiles import Tiling

from .nets import SCALES, SIZES, directly, in_new_names, network, picture, saved

WHOLE = Tiling(size=0, overlap=0)
CPU = torch.device("cpu")

opened = partial(open_upscaler, device=CPU, half=False)


def unseen(share: float) -> None:
    """A tick that nobody looks at."""


def far(one: Image.Image, other: Image.Image) -> int:
    """The largest difference of two pictures of one size."""
    assert one.size == other.size
    return int(np.abs(np.asarray(one).astype(int) - np.asarray(other)).max())


@pytest.fixture
def compact(tmp_path: Path) -> Callable[..., tuple[nn.Module, NetworkUpscaler]]:
    def make(**changes: Any) -> tuple[nn.Module, NetworkUpscaler]:
        module = network("Compact", **changes)
        return module, opened(saved(module, tmp_path / "compact.pth"))

    return make


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("kind", SIZES)
def test_a_network_does_what_its_architecture_does(kind: str, ending: str, tmp_path: Path) -> None:
    module = network(kind)
    image = picture(64, 72)
    upscaler = opened(saved(module, tmp_path / f"net{ending}"))
    enlarged = upscaler.enlarge(image, WHOLE, unseen)
    assert upscaler.scale == SCALES[kind]
    assert enlarged.size == (64 * SCALES[kind], 72 * SCALES[kind])
    assert far(enlarged, directly(module, image)) <= 1
    assert np.asarray(enlarged).std() > 5


@pytest.mark.parametrize("key", [None, "params", "params_ema", "state_dict"])
def test_esrgan_in_the_names_of_any_of_its_trainers(key: str | None, tmp_path: Path) -> None:
    module = network("ESRGAN")
    expected = directly(module, picture(20, 12))
    old = opened(saved(module, tmp_path / "old.pth", key=key))
    new = in_new_names(module.state_dict())
    torch.save({key: new} if key else new, tmp_path / "new.pth")
    for upscaler in (old, opened(tmp_path / "new.pth")):
        assert far(upscaler.enlarge(picture(20, 12), WHOLE, unseen), expected) <= 1


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (1, 50), (41, 17)])
@pytest.mark.parametrize("kind", SIZES)
def test_pictures_of_any_size(kind: str, size: tuple[int, int], tmp_path: Path) -> None:
    upscaler = opened(saved(network(kind), tmp_path / "net.pth"))
    wanted = size[0] * SCALES[kind], size[1] * SCALES[kind]
    for tiling in (WHOLE, Tiling(size=32, overlap=8)):
        assert upscaler.enlarge(picture(*size), tiling, unseen).size == wanted


@pytest.mark.parametrize("size", [(100, 70), (129, 33), (64, 200), (33, 33)])
def test_tiles_show_no_seams(
    size: tuple[int, int], compact: Callable[..., tuple[nn.Module, NetworkUpscaler]]
) -> None:
    module, upscaler = compact()
    image = picture(*size)
    whole = upscaler.enlarge(image, WHOLE, unseen)
    assert far(whole, directly(module, image)) <= 1
    # what a pixel of this network depends on is 4 pixels around it; a quarter of 16 is not shown
    assert far(upscaler.enlarge(image, Tiling(size=48, overlap=16), unseen), whole) <= 1
    # so that the test is known to tell seams from none
    assert (
        size == (33, 33)
        or far(upscaler.enlarge(image, Tiling(size=48, overlap=0), unseen), whole) > 8
    )


@pytest.mark.parametrize("kind", ["SwinIR", "DAT", "ESRGAN"])
def test_tiles_of_networks_that_look_further(kind: str, tmp_path: Path) -> None:
    upscaler = opened(saved(network(kind), tmp_path / "net.pth"))
    image = picture(112, 64)
    whole = np.asarray(upscaler.enlarge(image, WHOLE, unseen)).astype(float)
    tiled = np.asarray(upscaler.enlarge(image, Tiling(size=64, overlap=16), unseen))
    assert tiled.shape == whole.shape
    assert np.abs(tiled - whole).mean() < 0.05 * whole.std()


@pytest.mark.parametrize(
    ("mode", "given"), [("L", "L"), ("LA", "LA"), ("RGBA", "RGBA"), ("1", "L"), ("CMYK", "RGB")]
)
def test_modes_are_kept_and_alpha_is_enlarged_beside(
    mode: str, given: str, compact: Callable[..., tuple[nn.Module, NetworkUpscaler]]
) -> None:
    module, upscaler = compact()
    image = picture(24, 16, mode)
    enlarged = upscaler.enlarge(image, WHOLE, unseen)
    assert enlarged.mode == given
    colours = directly(module, image.convert("RGB"))
    grey = given.startswith("L")
    shown = enlarged.convert("L" if grey else "RGB")
    assert far(shown, colours.convert("L") if grey else colours) <= 1
    if given.endswith("A"):
        alpha = image.getchannel("A").resize((96, 64), Image.Resampling.LANCZOS)
        assert enlarged.getchannel("A").tobytes() == alpha.tobytes()


def test_16_bits_and_a_palette_that_is_transparent(
    compact: Callable[..., tuple[nn.Module, NetworkUpscaler]],
) -> None:
    _, upscaler = compact()
    grey = picture(24, 16, "L")
    expected = upscaler.enlarge(grey, WHOLE, unseen)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    assert deep.mode == "I;16"
    for image in (deep, deep.convert("I"), grey.convert("F")):
        assert upscaler.enlarge(image, WHOLE, unseen).tobytes() == expected.tobytes()
    palette = picture(24, 16).quantize(16)
    palette.info["transparency"] = 3
    enlarged = upscaler.enlarge(palette, WHOLE, unseen)
    assert (enlarged.mode, enlarged.getchannel("A").getextrema()) == ("RGBA", (0, 255))


def test_a_tick_follows_every_tile(
    compact: Callable[..., tuple[nn.Module, NetworkUpscaler]],
) -> None:
    _, upscaler = compact()
    shares: list[float] = []
    upscaler.enlarge(picture(100, 60), Tiling(size=40, overlap=8), shares.append)
    assert len(shares) == 6
    assert shares == sorted(shares)
    assert shares == pytest.approx([each / 6 for each in range(1, 7)], abs=0.02)
    shares.clear()
    upscaler.enlarge(picture(100, 60), WHOLE, shares.append)
    assert shares == [1.0]


def test_what_a_tick_raises_ends_the_work_and_leaves_nothing_behind(
    compact: Callable[..., tuple[nn.Module, NetworkUpscaler]],
) -> None:
    _, upscaler = compact()
    image = picture(100, 60)
    seen: list[float] = []

    class Interrupted(Exception):
        pass

    def stop(share: float) -> None:
        seen.append(share)
        if len(seen) == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        upscaler.enlarge(image, Tiling(size=40, overlap=8), stop)
    assert len(seen) == 2
    whole = upscaler.enlarge(image, WHOLE, unseen)
    assert far(upscaler.enlarge(image, Tiling(size=64, overlap=16), unseen), whole) <= 1


def test_too_many_pixels_are_refused_before_any_work(
    compact: Callable[..., tuple[nn.Module, NetworkUpscaler]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, upscaler = compact()
    ticks: list[float] = []
    monkeypatch.setattr(networks, "MAX_PIXELS", 32 * 32 * 16)
    assert upscaler.enlarge(picture(32, 32), WHOLE, ticks.append).size == (128, 128)
    ticks.clear()
    with pytest.raises(TooManyPixels, match=r"33x32 enlarged 4 times .* at most 16384"):
        upscaler.enlarge(picture(33, 32), WHOLE, ticks.append)
    assert ticks == []


@pytest.mark.parametrize("size", [0, 512])
def test_tiles_are_no_larger_than_there_is_memory_for(
    size: int,
    compact: Callable[..., tuple[nn.Module, NetworkUpscaler]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, upscaler = compact()
    image = picture(96, 96)
    whole = upscaler.enlarge(image, WHOLE, unseen)
    ticks: list[float] = []
    room = 48 * 48 * upscaler._bytes_a_pixel / networks._SHARE
    monkeypatch.setattr(networks, "available", lambda device: room)
    tiled = upscaler.enlarge(image, Tiling(size=size, overlap=16), ticks.append)
    assert len(ticks) == 9
    assert far(tiled, whole) <= 1


class Crowded:
    """A network's forward on a device that has room for `most` pixels at a time."""

    def __init__(self, forward: Callable[..., Any], most: int, error: Exception) -> None:
        self._forward = forward
        self._most = most
        self._error = error
        self.refused = 0

    def __call__(self, given: Any) -> Any:
        if given.shape[2] * given.shape[3] > self._most:
            self.refused += 1
            raise self._error
        return self._forward(given)


FULL = (
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
)


@pytest.mark.parametrize("error", FULL, ids=["cuda", "cpu"])
def test_out_of_memory_halves_the_tile_and_goes_on(
    error: Exception,
    compact: Callable[..., tuple[nn.Module, NetworkUpscaler]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, upscaler = compact()
    image = picture(200, 150)
    whole = upscaler.enlarge(image, WHOLE, unseen)
    crowded = Crowded(upscaler._forward, 60 * 60, error)
    monkeypatch.setattr(upscaler, "_forward", crowded)
    shares: list[float] = []
    tiled = upscaler.enlarge(image, Tiling(size=160, overlap=16), shares.append)
    # at the first tile of 112 and of 56, no more: what fits is known from then on
    assert crowded.refused == 2
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert far(tiled, whole) <= 1


def test_no_memory_for_the_smallest_tile_is_an_error(
    compact: Callable[..., tuple[nn.Module, NetworkUpscaler]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, upscaler = compact()
    image = picture(70, 70)
    whole = upscaler.enlarge(image, WHOLE, unseen)
    with monkeypatch.context() as patch:
        patch.setattr(upscaler, "_forward", Crowded(upscaler._forward, 4, FULL[0]))
        with pytest.raises(torch.OutOfMemoryError):
            upscaler.enlarge(image, WHOLE, unseen)
    assert upscaler.enlarge(image, WHOLE, unseen).tobytes() == whole.tobytes()


def test_half_precision_that_overflows_is_done_again_in_float32(tmp_path: Path) -> None:
    module = network("Compact")
    with torch.no_grad():
        module.body[0].weight.mul_(1e6)  # type: ignore[index,union-attr]
        module.body[2].weight.mul_(1e-6)  # type: ignore[index,union-attr]
    path = saved(module, tmp_path / "net.pth")
    halved = NetworkUpscaler(path, open_architecture(path).half(), threading.Lock())
    assert halved.dtype == torch.float16
    image = picture(40, 24)
    enlarged = halved.enlarge(image, WHOLE, unseen)
    assert halved.dtype == torch.float32
    assert far(enlarged, directly(module, image)) <= 1


def test_not_a_number_in_float32_too_is_an_error(tmp_path: Path) -> None:
    module = network("Compact")
    with torch.no_grad():
        module.body[0].weight.mul_(1e38)  # type: ignore[index,union-attr]
        module.body[2].weight.mul_(1e30)  # type: ignore[index,union-attr]
    upscaler = opened(saved(module, tmp_path / "too-much.pth"))
    with pytest.raises(NansException, match="upscaler 'too-much' produced NaN"):
        upscaler.enlarge(picture(40, 24), WHOLE, unseen)


def test_networks_take_turns_and_who_waits_is_told(tmp_path: Path) -> None:
    turn = threading.Lock()
    path = saved(network("Compact"), tmp_path / "net.pth")
    upscaler = open_upscaler(path, device=CPU, half=False, turn=turn)
    waited = threading.Event()
    shares: list[float] = []

    def tick(share: float) -> None:
        shares.append(share)
        waited.set()

    with turn:
        worker = threading.Thread(target=upscaler.enlarge, args=(picture(8, 8), WHOLE, tick))
        worker.start()
        assert waited.wait(5)
        assert set(shares) == {0.0}
    worker.join(5)
    assert shares[-1] == 1.0


def test_many_threads_share_one_network(
    compact: Callable[..., tuple[nn.Module, NetworkUpscaler]],
) -> None:
    _, upscaler = compact()
    images = [picture(60 + each, 50) for each in range(6)]
    expected = [upscaler.enlarge(image, WHOLE, unseen) for image in images]
    made: dict[int, Image.Image] = {}

    def work(number: int) -> None:
        made[number] = upscaler.enlarge(images[number], Tiling(size=48, overlap=16), unseen)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert all(far(made[number], expected[number]) <= 1 for number in range(6))
