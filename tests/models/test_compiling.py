"""A UNet whose blocks are compiled: the same numbers, whatever is put on it; or not compiled."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from structlog.testing import capture_logs
from torch import Tensor, nn

from models.choice import ModelChoice
from models.compiling import Compiled
from models.embeddings.shelf import EmbeddingShelf
from models.families import Checkpoint
from models.families.inputs import UnetInputs, run_unet
from models.fitting import Fitting
from models.offload import Guest
from models.running import Running

from .families.variants import load_path
from .files import CHECKPOINTS
from .test_fitting import network
from .test_graphs import made

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    """As the device thread runs."""
    with torch.inference_mode():
        yield


@pytest.fixture
def bare() -> Checkpoint:
    return load_path(CHECKPOINTS / "tiny-sd15.safetensors")


def fitter(bare: Checkpoint) -> Fitting:
    return Fitting(
        bare,
        EmbeddingShelf(()),
        vae_dtype=torch.float32,
        allow_pickle=False,
        running=Running(compiled=True),
    )


def drawn(checkpoint: Checkpoint, inputs: UnetInputs) -> Tensor:
    return checkpoint.predict(inputs.x, inputs.timestep, inputs.context)


def failing(graph: nn.Module, example_inputs: Any) -> Any:
    """A compiler that cannot."""
    raise RuntimeError("no working C++ compiler found")


def compiled_blocks(unet: nn.Module) -> int:
    return sum(module._compiled_call_impl is not None for module in unet.modules())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiler_that_fails_costs_one_line_and_no_picture(
    bare: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, whole = made(2), partial(bare.unet.compile_repeated_blocks, backend=failing)
    wanted = run_unet(bare.unet, inputs)
    monkeypatch.setattr(bare.unet, "compile_repeated_blocks", whole)
    fitting, choice = fitter(bare), ModelChoice(checkpoint=bare.info)
    with capture_logs() as logs:
        for _ in range(2):
            assert torch.equal(drawn(fitting.fit(choice), inputs), wanted)
    warnings = [each for each in logs if each["log_level"] == "warning"]
    assert [each["event"] for each in warnings] == ["the UNet is not compiled: the compiler failed"]
    assert compiled_blocks(bare.unet) == 0


def test_one_that_cannot_even_begin_costs_no_more(
    bare: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(**options: Any) -> None:
        raise RuntimeError("torch.compile is not supported here")

    monkeypatch.setattr(bare.unet, "compile_repeated_blocks", refusing)
    compiled = Compiled(bare.unet)
    with capture_logs() as logs:
        for _ in range(2):
            compiled.use(True)
            assert compiled(made(1)).shape == (1, 4, 8, 8)
    assert len(logs) == 1


def test_an_error_of_the_call_itself_is_raised(bare: Checkpoint) -> None:
    compiled = Compiled(bare.unet)
    with capture_logs() as logs, pytest.raises(RuntimeError):
        compiled(replace(made(1), context=torch.zeros(1, 77, 3)))
    assert logs == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.bench)])
def test_compiled_blocks_draw_the_same(
    bare: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    """With networks on and off, with hooks on the blocks, at other sizes, and after a move.

    To trace the blocks takes seconds; to compile them too, a minute.
    """
    whole = partial(bare.unet.compile_repeated_blocks, backend=backend)
    monkeypatch.setattr(bare.unet, "compile_repeated_blocks", whole)
    fitting, choice = fitter(bare), ModelChoice(checkpoint=bare.info)
    worn = replace(choice, networks=(network(tmp_path, bare),))
    merged = replace(choice, token_merging=0.5)
    plain = Compiled(bare.unet)
    seen: list[Tensor] = []
    for way, inputs, blocks in (
        (choice, made(2), True),
        (worn, made(2), True),
        (merged, made(2), False),
        (choice, made(2), True),
        (choice, made(5), True),
        (choice, made(1, side=12), True),
    ):
        lent = fitting.fit(way)
        assert bool(compiled_blocks(bare.unet)) == blocks
        seen.append(drawn(lent, inputs))
        kept = {module: module._compiled_call_impl for module in bare.unet.modules()}
        for module in kept:
            module._compiled_call_impl = None
        torch.testing.assert_close(seen[-1], plain(inputs), atol=1e-4, rtol=1e-4)
        for module, call in kept.items():
            module._compiled_call_impl = call
    assert float((seen[0] - seen[1]).abs().max()) > 1e-3
    torch.testing.assert_close(seen[3], seen[0], atol=1e-6, rtol=0)
    guest = Guest(bare.unet, CPU, at_home=True)
    guest.arrive()
    torch.testing.assert_close(drawn(fitting.fit(choice), made(2)), seen[0], atol=1e-6, rtol=0)
