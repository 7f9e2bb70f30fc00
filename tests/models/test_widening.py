"""A UNet that overflows in half precision: read anew in a wider format, for good."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from structlog.testing import capture_logs
from torch import Tensor

from models.catalog import Catalog
from models.choice import ModelChoice
from models.embeddings.shelf import EmbeddingShelf
from models.families import Checkpoint
from models.manager import CheckpointManager
from models.networks.files import NetworkInfo, NetworkUse
from models.precision import Formats, Precision
from models.running import Running

from .files import CHECKPOINTS, sidecar_text
from .tape import Tape
from .test_fitting import network
from .test_manager import (
    CPU,
    FakeFamily,
    catalog,
    fake,
    info,
    library,
    plain,
    scanned,
    use,
)

__all__ = ["catalog", "fake"]

HALF, BRAIN, FULL = torch.float16, torch.bfloat16, torch.float32
PRECISION = Precision(formats=Formats(unet=HALF), wider=(BRAIN, FULL))


def lending(catalog: Catalog, running: Running | None = None) -> CheckpointManager:
    return CheckpointManager(
        library(catalog),
        EmbeddingShelf(()),
        device=CPU,
        precision=PRECISION,
        running=running or Running(),
    )


def dtype_of(lender: CheckpointManager, choice: ModelChoice) -> torch.dtype:
    with lender.borrow(choice) as checkpoint:
        assert {part.dtype for part in checkpoint.unet.parameters()} == {checkpoint.dtype}
        return checkpoint.dtype


def test_it_is_read_anew_in_the_next_format(fake: FakeFamily, catalog: Catalog) -> None:
    lender, choice = lending(catalog), plain(catalog, "a")
    assert dtype_of(lender, choice) is HALF
    with capture_logs() as logs:
        assert lender.widen(choice) is BRAIN
    assert [log["event"] for log in logs] == ["checkpoint unloaded", "the UNet overflowed"]
    assert dtype_of(lender, choice) is BRAIN
    assert lender.widen(choice) is FULL
    assert dtype_of(lender, choice) is FULL
    assert fake.loads == ["a"] * 3


def test_for_good_and_no_other(fake: FakeFamily, catalog: Catalog) -> None:
    lender, choice = lending(catalog), plain(catalog, "a")
    use(lender, catalog, "a")
    lender.widen(choice)
    assert dtype_of(lender, plain(catalog, "b")) is HALF
    assert dtype_of(lender, plain(catalog, "a", tiling=True)) is BRAIN
    lender.unload()
    assert dtype_of(lender, choice) is BRAIN


def test_who_holds_it_keeps_it_as_it_is_till_it_comes_back(
    fake: FakeFamily, catalog: Catalog
) -> None:
    lender, choice = lending(catalog), plain(catalog, "a")
    with lender.borrow(choice) as checkpoint:
        assert lender.widen(choice) is BRAIN
        assert checkpoint.dtype is HALF
        assert len(lender.loaded()) == 1
    assert lender.loaded() == ()
    assert dtype_of(lender, choice) is BRAIN


def test_where_no_format_is_left_it_stays(fake: FakeFamily, catalog: Catalog) -> None:
    lender, choice = lending(catalog), plain(catalog, "a")
    for wanted in (HALF, BRAIN, FULL):
        assert dtype_of(lender, choice) is wanted
        lender.widen(choice)
    assert lender.widen(choice) is None
    assert dtype_of(lender, choice) is FULL
    assert fake.loads == ["a"] * 3


def test_networks_that_overflow_everywhere_do_not_cost_the_checkpoint_its_format(
    fake: FakeFamily, catalog: Catalog, tmp_path: Path
) -> None:
    lender, choice = lending(catalog), plain(catalog, "a")
    info = NetworkInfo(path=tmp_path / "n.safetensors", name="n", alias="n")
    worn = replace(choice, networks=(NetworkUse(network=info),))
    for wanted in (HALF, BRAIN, FULL):
        assert dtype_of(lender, choice) is wanted
        lender.widen(worn)
    assert dtype_of(lender, choice) is HALF


# With a real UNet ------------------------------------------------------------------------------


def drawn(checkpoint: Checkpoint) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(2, 4, 8, 8, generator=generator)
    context = torch.randn(2, 77, 16, generator=generator)
    with torch.inference_mode():
        return checkpoint.predict(x, torch.tensor([10.0, 800.0]), context)


@pytest.fixture
def strong(tmp_path: Path) -> Catalog:
    """A checkpoint whose UNet leaves float16's range in its last layer."""
    state = load_file(CHECKPOINTS / "tiny-sd15.safetensors")
    last = "model.diffusion_model.out.2.weight"
    state = {name: part.float() for name, part in state.items()}
    state[last] *= 2e4 / state[last].abs().max()
    (tmp_path / "models").mkdir()
    save_file(state, tmp_path / "models" / "strong.safetensors")
    (tmp_path / "models" / "strong.yaml").write_text(sidecar_text("tiny-sd15"))
    return scanned(tmp_path, tmp_path / "models")


def test_what_overflowed_does_not_and_networks_and_graphs_are_put_on_again(
    strong: Catalog, tmp_path: Path
) -> None:
    tape = Tape()
    lender = lending(strong, Running(recorders=lambda: tape))
    choice = ModelChoice(checkpoint=info(strong, "strong"))
    with lender.borrow(choice) as checkpoint:
        worn = replace(choice, networks=(network(tmp_path, checkpoint),))
    with lender.borrow(worn) as checkpoint:
        for _ in range(2):
            assert not drawn(checkpoint).isfinite().all()
    assert tape.recordings == 1
    assert lender.widen(worn) is BRAIN
    with lender.borrow(worn) as checkpoint:
        found = [drawn(checkpoint) for _ in range(3)]
    assert tape.recordings == 2
    assert lender.widen(worn) is FULL
    with lender.borrow(worn) as checkpoint:
        exact = drawn(checkpoint)
    for each in found:
        assert float((each - exact).abs().max()) < 0.05 * float(exact.abs().max())
    with lender.borrow(choice) as checkpoint:
        assert float((drawn(checkpoint) - exact).abs().max()) > 1
