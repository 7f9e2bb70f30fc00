"""The path to a GPU, from loading to a forward: on a CPU with stand-ins, with `-m gpu` on a GPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from structlog.testing import capture_logs
from torch import Tensor

from models import families
from models.choice import ModelChoice
from models.embeddings.shelf import EmbeddingShelf
from models.families import Checkpoint
from models.families.inputs import Placement, UnetInputs
from models.fitting import Fitting
from models.graphs import Graphs, Recorder, cuda_recorders
from models.manager import CheckpointManager
from models.memory import give_back
from models.precision import Formats, Precision
from models.running import Running

from .families.variants import info_of
from .files import CHECKPOINTS
from .tape import Tape
from .test_fitting import WIDTH, network
from .test_manager import info, library, scanned

PATH = CHECKPOINTS / "tiny-sd15.safetensors"
NEEDS_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]

#: a tape records what waits for a device, and nothing of what a compiler made
ON_GPU = pytest.mark.parametrize("place", [pytest.param("cuda", marks=NEEDS_GPU)], indirect=True)


@dataclass(frozen=True)
class Place:
    """A device, what records on it, and how far its half precision is from float32."""

    device: torch.device
    recorders: Callable[[], Recorder]
    dtype: torch.dtype

    @property
    def formats(self) -> Formats:
        return Formats.all(self.dtype, channels_last=True)

    def allocated(self) -> int:
        give_back(self.device)
        return torch.cuda.memory_allocated(self.device) if self.device.type == "cuda" else 0

    @contextmanager
    def without_waiting(self) -> Iterator[None]:
        """Makes an error of whatever waits for the device."""
        if self.device.type != "cuda":
            yield
            return
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=NEEDS_GPU)])
def place(request: pytest.FixtureRequest) -> Place:
    device = torch.device(request.param)
    if device.type == "cpu":
        return Place(device, Tape, torch.float32)
    recorders = cuda_recorders(device)
    assert recorders is not None
    return Place(device, recorders, torch.float16)


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def loaded(place: Place, formats: Formats | None = None) -> Checkpoint:
    with torch.inference_mode(False):
        return families.load(info_of(PATH), device=place.device, formats=formats or place.formats)


def fitter(bare: Checkpoint, running: Running) -> Fitting:
    shelf = EmbeddingShelf(())
    return Fitting(bare, shelf, vae_dtype=bare.vae_dtype, allow_pickle=False, running=running)


def told(place: Place, rows: int = 2, seed: int = 1, side: int = 8) -> tuple[Tensor, ...]:
    """What a step tells a UNet: latents and context on the device, time steps in RAM."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 4, side, side, generator=generator)
    context = torch.randn(rows, 77, WIDTH, generator=generator)
    steps = torch.rand(rows, generator=generator) * 999
    return x.to(place.device), steps, context.to(place.device)


def close(found: Tensor, wanted: Tensor, place: Place) -> None:
    """The same to rounding in the place's format."""
    near = 2e-2 if place.dtype is torch.float16 else 1e-4
    torch.testing.assert_close(found, wanted, atol=near, rtol=near)


def test_graphs_draw_what_is_drawn_without_them(place: Place) -> None:
    bare = loaded(place)
    lent = fitter(bare, Running(recorders=place.recorders)).fit(ModelChoice(checkpoint=bare.info))
    for rows in (2, 2, 5, 6, 5, 2, 16, 16, 17):
        inputs = told(place, rows, seed=rows)
        found = lent.predict(*inputs)
        assert found.dtype is torch.float32
        close(found, bare.predict(*inputs), place)


def test_networks_are_seen_by_graphs_that_were_there_before(place: Place, tmp_path: Path) -> None:
    bare, inputs = loaded(place), told(place)
    choice, seen = ModelChoice(checkpoint=bare.info), []
    use = network(tmp_path, bare)
    fitting = fitter(bare, Running(recorders=place.recorders))
    for weight in (0.0, 0.0, 0.5, -0.5, 0.0):
        networks = (replace(use, unet_weight=weight),) if weight else ()
        lent = fitting.fit(replace(choice, networks=networks))
        seen.append(lent.predict(*inputs))
        close(seen[-1], bare.predict(*inputs), place)
    assert float((seen[2] - seen[3]).abs().max()) > 1e-2
    close(seen[4], seen[1], place)


@pytest.mark.parametrize("more", [{}, {"tiling": True}, {"token_merging": 0.5}], ids=str)
@pytest.mark.parametrize("graphs", [True, False])
def test_no_step_waits_for_the_device(place: Place, more: dict[str, Any], graphs: bool) -> None:
    bare = loaded(place)
    running = Running(recorders=place.recorders if graphs else None)
    lent = fitter(bare, running).fit(ModelChoice(checkpoint=bare.info, **more))
    inputs = told(place)
    for _ in range(2):
        wanted = lent.predict(*inputs)
    with place.without_waiting():
        found = lent.predict(*inputs)
    close(found, wanted, place)


def test_what_lies_channels_last_draws_the_same(place: Place) -> None:
    last, first = loaded(place), loaded(place, Formats.all(place.dtype))
    inputs = told(place, side=16)
    close(last.predict(*inputs), first.predict(*inputs), place)
    latents = inputs[0] * 0.1
    pixels = first.decode(latents).clamp(-1, 1)
    close(last.decode(latents).clamp(-1, 1), pixels, place)
    close(last.encode_image(pixels), first.encode_image(pixels), place)


def test_all_memory_is_back_after_an_unload(place: Place, tmp_path: Path) -> None:
    catalog = scanned(tmp_path, CHECKPOINTS)
    lender = CheckpointManager(
        library(catalog),
        EmbeddingShelf(()),
        device=place.device,
        precision=Precision(formats=place.formats),
        running=Running(recorders=place.recorders),
    )
    floors = []
    # libraries take what they need for themselves in the first round
    for _ in range(3):
        with lender.borrow(ModelChoice(checkpoint=info(catalog, "tiny-sd15"))) as checkpoint:
            for rows in (2, 2, 4, 4):
                checkpoint.predict(*told(place, rows))
        held = place.allocated()
        del checkpoint
        lender.unload()
        floors.append(place.allocated())
    assert floors[2] <= floors[1]
    if place.device.type == "cuda":
        assert floors[2] < held


@ON_GPU
def test_work_that_waits_for_the_device_is_done_without_a_graph(place: Place) -> None:
    module = torch.nn.Linear(1, 1).to(place.device)
    plain = Placement(device=place.device, dtype=torch.float32)

    def run(inputs: UnetInputs) -> Tensor:
        return inputs.x * float(inputs.x.sum())

    held = Graphs(module, plain, run, place.recorders)
    x, steps, context = told(place)
    inputs = UnetInputs(x=x, timestep=steps, context=context)
    stream = torch.cuda.current_stream()
    with capture_logs() as logs:
        for _ in range(3):
            close(held.under("")(inputs), x * x.sum(), place)
    assert len(logs) == 1
    assert torch.cuda.current_stream() == stream
    # and others are recorded after it as before
    bare = loaded(place)
    lent = fitter(bare, Running(recorders=place.recorders)).fit(ModelChoice(checkpoint=bare.info))
    for _ in range(3):
        close(lent.predict(x, steps, context), bare.predict(x, steps, context), place)


@ON_GPU
def test_compiled_blocks_are_recorded(place: Place) -> None:
    bare, plain = loaded(place), loaded(place)
    running = Running(recorders=place.recorders, compiled=True)
    lent = fitter(bare, running).fit(ModelChoice(checkpoint=bare.info))
    for rows in (2, 2, 2, 4, 4, 4):
        inputs = told(place, rows)
        close(lent.predict(*inputs), plain.predict(*inputs), place)
