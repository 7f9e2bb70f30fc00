"""Networks put onto the weights, beside networks computed next to them in every step.

`pytest -m bench tests/bench/test_networks.py -s`: ten minutes, 9 GB of memory, 2.3 GB of disk. The
seconds are those of one processor core, which the work of others on the machine changes least.
`docs/adr/0008-networks-merge-or-side-path.md` has the table and what follows from it.
"""

import gc
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

from models.families import Checkpoint
from models.networks.adapters import Adapters
from models.networks.files import NetworkInfo, NetworkUse
from tests.bench.full_size import write_full_size
from tests.models.families.variants import load_path
from tests.models.files import CHECKPOINTS

pytestmark = pytest.mark.bench

RANK, SETS, ROWS = 16, 4, 2
STRENGTH = 0.8
Layer = nn.Linear | nn.Conv2d
Parts = dict[str, Tensor]


@pytest.fixture(params=["tiny", "SD1.5"])
def sized(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Checkpoint, int]]:
    """A checkpoint in float32, and the side of the latents that it is measured on."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    if request.param == "tiny":
        yield request.param, load_path(CHECKPOINTS / "tiny-sd15.safetensors"), 8
    else:
        path = tmp_path / "full.safetensors"
        write_full_size(path)
        yield request.param, load_path(path), 64
        path.unlink()
    torch.set_num_threads(threads)


def layers(checkpoint: Checkpoint) -> dict[str, Layer]:
    found = checkpoint.unet.named_modules()
    return {name: each for name, each in found if isinstance(each, Layer)}


def parts_of(layer: Layer, generator: torch.Generator) -> Parts:
    shape, tail = layer.weight.shape, [1] * (layer.weight.dim() - 2)
    up = torch.randn(shape[0], RANK, *tail, generator=generator) * 0.02
    return {"up": up, "down": torch.randn(RANK, *shape[1:], generator=generator) * 0.02}


def written(path: Path, checkpoint: Checkpoint, seed: int) -> tuple[NetworkUse, ...]:
    """A LoRA of every layer of the UNet, in half precision."""
    generator, state = torch.Generator().manual_seed(seed), {}
    for name, layer in layers(checkpoint).items():
        for side, part in parts_of(layer, generator).items():
            state[f"lora_unet_{name.replace('.', '_')}.lora_{side}.weight"] = part.half()
    save_file(state, path)
    info = NetworkInfo(path=path, name=path.stem, alias=path.stem)
    return (NetworkUse(network=info, text_weight=STRENGTH, unet_weight=STRENGTH),)


def seconds(run: Callable[[], object]) -> float:
    gc.collect()
    started = time.process_time()
    run()
    return time.process_time() - started


def step(checkpoint: Checkpoint, side: int, rows: int) -> Callable[[], object]:
    x, timestep = torch.randn(rows, 4, side, side), torch.full((rows,), 400.0)
    context = torch.randn(rows, 77, checkpoint.unet.config.cross_attention_dim)
    return torch.inference_mode()(lambda: checkpoint.predict(x, timestep, context))


def beside(layer: Layer, sets: list[Parts]) -> Callable[..., None]:
    """A hook that adds each set's product to its share of the rows."""

    def add(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        for part, x, y in zip(
            sets, inputs[0].chunk(len(sets)), output.chunk(len(sets)), strict=True
        ):
            if isinstance(layer, nn.Linear):
                added = linear(linear(x, part["down"]), part["up"])
            else:
                low = conv2d(x, part["down"], stride=layer.stride, padding=layer.padding)
                added = conv2d(low, part["up"])
            y.add_(added, alpha=STRENGTH)

    return add


def with_hooks(checkpoint: Checkpoint, side: int, count: int) -> float:
    """The seconds of a step in which `count` sets are computed beside the layers."""
    generator, hooks = torch.Generator().manual_seed(9), []
    for layer in layers(checkpoint).values():
        sets = [parts_of(layer, generator) for _ in range(count)]
        hooks.append(layer.register_forward_hook(beside(layer, sets)))
    try:
        return seconds(step(checkpoint, side, ROWS * count))
    finally:
        for hook in hooks:
            hook.remove()


def say(what: str, took: float) -> None:
    sys.stdout.write(f"  {what:44}{took:9.3f} s\n")
    sys.stdout.flush()


def test_on_the_weights_or_beside_them(sized: tuple[str, Checkpoint, int], tmp_path: Path) -> None:
    name, checkpoint, side = sized
    first, second = (written(tmp_path / f"{n}.safetensors", checkpoint, n) for n in range(2))
    worn = Adapters(checkpoint)
    sys.stdout.write(f"\n{name}: rank {RANK}, {len(layers(checkpoint))} layers\n")
    say("put on, the first time", seconds(lambda: worn.wear(first)))
    say("another in its place", seconds(lambda: worn.wear(second)))
    say("the first again", seconds(lambda: worn.wear(first, keep=1)))
    say("the other again, its file kept", seconds(lambda: worn.wear(second, keep=1)))
    sys.stdout.write(f"  held beside the weights: {worn.nbytes / 1e6:.0f} MB\n")
    say("taken off", seconds(lambda: worn.wear(())))
    for count in (1, SETS):
        rows = ROWS * count
        seconds(step(checkpoint, side // 8, rows))
        say(f"a step of {rows} rows", seconds(step(checkpoint, side, rows)))
        say(f"a step of {rows} rows, sets beside: {count}", with_hooks(checkpoint, side, count))
