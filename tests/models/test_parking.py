"""On a GPU: those not in use wait in RAM, and come back before they are lent."""

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from models import manager as managers
from models.catalog import Catalog
from models.embeddings.shelf import EmbeddingShelf
from models.manager import CheckpointManager
from models.residence import Keeping

from .test_manager import (
    PATIENCE,
    FakeFamily,
    catalog,
    fake,
    library,
    plain,
    tiled,
    use,
)

__all__ = ["catalog", "fake"]


class Recorder:
    """A guest that says where it is, and moves nothing."""

    log: list[str]
    names: Iterator[str]

    def __init__(self, module: nn.Module, device: torch.device, *, at_home: bool) -> None:
        assert not at_home
        self._name = next(self.names)

    def arrive(self) -> None:
        self.log.append(f"fetch {self._name}")

    def leave(self) -> None:
        self.log.append(f"park {self._name}")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was moved: of each checkpoint the UNet (the first that is recorded) alone."""
    moved: list[str] = []
    stems = (stem if part == 0 else "" for stem in "abcabc" for part in range(3))
    made = type("Made", (Recorder,), {"log": moved, "names": stems})
    monkeypatch.setattr(managers, "Guest", made)
    return moved


def lending(catalog: Catalog, keeping: Keeping) -> CheckpointManager:
    """A manager of a device that is no CPU, and has no memory either."""
    return CheckpointManager(
        library(catalog),
        EmbeddingShelf(()),
        device=torch.device("meta"),
        keeping=lambda: keeping,
    )


def moves(log: list[str]) -> list[str]:
    return [each for each in log if each[-1] != " "]


def test_one_is_on_the_gpu_and_the_others_in_ram(
    fake: FakeFamily, catalog: Catalog, log: list[str]
) -> None:
    lender = lending(catalog, Keeping(limit=2))
    use(lender, catalog, "a", "b", "b", "a", "a", "b")
    assert fake.loads == ["a", "b"]
    assert moves(log) == ["park a", "park b", "fetch a", "park a", "fetch b"]
    use(lender, catalog, "c")
    assert fake.loads == ["a", "b", "c"]
    assert [each.stem for each in lender.loaded()] == ["b", "c"]


def test_with_the_option_off_all_stay_on_the_gpu(
    fake: FakeFamily, catalog: Catalog, log: list[str]
) -> None:
    use(lending(catalog, Keeping(limit=2, in_ram=False)), catalog, "a", "b", "a", "b")
    assert fake.loads == ["a", "b"]
    assert moves(log) == []


def test_one_that_is_lent_is_not_moved(fake: FakeFamily, catalog: Catalog, log: list[str]) -> None:
    lender = lending(catalog, Keeping(limit=2))
    done = threading.Event()

    def other() -> None:
        use(lender, catalog, "b")
        done.set()

    thread = threading.Thread(target=other)
    with lender.borrow(plain(catalog, "a", tiling=True)) as checkpoint:
        thread.start()
        assert not done.wait(0.2)
        assert moves(log) == []
        assert tiled(checkpoint)
    assert done.wait(PATIENCE)
    thread.join(PATIENCE)
    assert moves(log) == ["park a"]
