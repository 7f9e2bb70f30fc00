import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from structlog.testing import capture_logs
from torch import nn
from transformers import CLIPTextModel

from models import families
from models.approx_files import NO_APPROXIMATIONS
from models.catalog import Catalog, CheckpointInfo
from models.choice import ModelChoice
from models.embeddings.shelf import EmbeddingShelf
from models.errors import CheckpointError, CheckpointNotFound, CorruptCheckpoint
from models.families import Checkpoint, Family
from models.families.base import ModelTraits
from models.families.text import ClipEncoder
from models.families.tokenizer import ClipTokenizer
from models.families.weights import Weights
from models.hashing import HashCache
from models.header import Header
from models.library import Library
from models.manager import CheckpointManager
from models.networks.files import NetworkCatalog
from models.precision import Formats
from models.residence import Keeping
from models.vae_files import VaeCatalog, VaeInfo

from .files import CHECKPOINTS, one_tensor

CPU = torch.device("cpu")
PATIENCE = 10.0


class FakeUnet(nn.Module):
    """One convolution, in the outline of a UNet."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        self.down_blocks = nn.ModuleList([nn.Module()])
        self.down_blocks[0].resnets = nn.ModuleList()
        self.up_blocks = nn.ModuleList()


class FakeEncoder(nn.Linear):
    """A text encoder of no more than its width."""

    config = SimpleNamespace(hidden_size=3)


class FakeFamily:
    """Loads anything as a module of one weight, and remembers what it loaded."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.tokenizer = ClipTokenizer()

    def check(self, info: CheckpointInfo, header: Header) -> None:
        if "strange" in header.tensors:
            raise CorruptCheckpoint(info.path, "strange by its header")

    def load(
        self,
        info: CheckpointInfo,
        weights: Weights,
        *,
        device: torch.device,
        formats: Formats,
    ) -> Checkpoint:
        self.loads.append(info.stem)
        if "broken" in weights.header.tensors:
            raise CorruptCheckpoint(info.path, "broken within")
        return Checkpoint(
            info=info,
            family="fake",
            unet=cast(UNet2DConditionModel, FakeUnet().to(device, formats.unet)),
            vae=cast(AutoencoderKL, nn.Conv2d(1, 1, 3).to(device, formats.vae)),
            encoders=(ClipEncoder(module=cast(CLIPTextModel, FakeEncoder(1, 1))),),
            traits=ModelTraits(
                tokenizer=self.tokenizer,
                alphas_cumprod=torch.ones(1000),
                prediction="epsilon",
                latent_scale=1.0,
                latent_channels=4,
                in_channels=4,
                device=device,
            ),
            dtype=formats.unet,
        )


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeFamily:
    made = FakeFamily()
    row = Family(name="fake", detect=lambda _: True, check=made.check, load=made.load)
    monkeypatch.setattr(families, "FAMILIES", (row,))
    return made


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    for number, stem in enumerate("abc"):
        one_tensor(tmp_path / "models" / f"{stem}.safetensors", fill=number)
    one_tensor(tmp_path / "models" / "broken.safetensors", name="broken")
    one_tensor(tmp_path / "models" / "strange.safetensors", name="strange")
    return scanned(tmp_path, tmp_path / "models")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def scanned(tmp_path: Path, root: Path) -> Catalog:
    made = Catalog(
        (root,),
        explicit=None,
        hashes=HashCache(tmp_path / "hashes.db"),
        hashing=True,
        allow_pickle=False,
        demo=tmp_path / "no demo",
    )
    made.scan()
    return made


def library(catalog: Catalog) -> Library:
    """This catalog, and no other files."""
    hashes = HashCache(Path("/nowhere/hashes.db"))
    return Library(
        checkpoints=catalog,
        vaes=VaeCatalog((), (), hashes=hashes, hashing=False, allow_pickle=False),
        networks=NetworkCatalog((), hashes=hashes, hashing=False, allow_pickle=False),
        approx=NO_APPROXIMATIONS,
    )


def manager(catalog: Catalog, limit: int = 1) -> CheckpointManager:
    return CheckpointManager(
        library(catalog),
        EmbeddingShelf(()),
        device=CPU,
        keeping=lambda: Keeping(limit=limit),
    )


def info(catalog: Catalog, stem: str) -> CheckpointInfo:
    found = catalog.find(stem)
    assert found is not None
    return found


def plain(catalog: Catalog, stem: str, *, tiling: bool = False) -> ModelChoice:
    """A checkpoint with nothing on it, but for tiling."""
    return ModelChoice(checkpoint=info(catalog, stem), tiling=tiling)


def use(lender: CheckpointManager, catalog: Catalog, *stems: str) -> None:
    for stem in stems:
        with lender.borrow(plain(catalog, stem)) as checkpoint:
            assert checkpoint.info.stem == stem


def use_choice(lender: CheckpointManager, choice: ModelChoice) -> None:
    with lender.borrow(choice):
        pass


def test_a_real_checkpoint_is_hashed_loaded_and_lent(tmp_path: Path) -> None:
    catalog = scanned(tmp_path, CHECKPOINTS)
    lender = manager(catalog)
    unhashed = info(catalog, "tiny-sd15")
    assert unhashed.sha256 is None
    with capture_logs() as logs, lender.borrow(ModelChoice(checkpoint=unhashed)) as checkpoint:
        assert checkpoint.info.title == "tiny-sd15.safetensors [df30768f29]"
        assert checkpoint.unet.config.cross_attention_dim == 16
    assert info(catalog, "tiny-sd15") == checkpoint.info == lender.current()
    loaded = [log for log in logs if log["event"] == "checkpoint loaded"]
    assert [log["name"] for log in loaded] == ["tiny-sd15.safetensors [df30768f29]"]
    assert 0 < loaded[0]["seconds"] < 60


def test_nothing_is_current_before_the_first_borrow(fake: FakeFamily, catalog: Catalog) -> None:
    lender = manager(catalog)
    assert lender.current() is None
    use(lender, catalog, "a")
    current = lender.current()
    assert current is not None
    assert current.stem == "a"


def test_a_resident_checkpoint_is_not_loaded_again(fake: FakeFamily, catalog: Catalog) -> None:
    lender = manager(catalog)
    early = plain(catalog, "a")
    with lender.borrow(early) as first, lender.borrow(early) as second:
        assert first.unet is second.unet
    # The entry taken before it was hashed names the same checkpoint.
    assert plain(catalog, "a") != early
    with lender.borrow(plain(catalog, "a")) as third:
        assert third.unet is first.unet
    assert fake.loads == ["a"]


def test_a_swap_frees_what_was_loaded(fake: FakeFamily, catalog: Catalog) -> None:
    lender = manager(catalog)
    with lender.borrow(plain(catalog, "a")) as checkpoint:
        unet = weakref.ref(checkpoint.unet)
    del checkpoint
    assert unet() is not None
    use(lender, catalog, "b")
    assert unet() is None
    use(lender, catalog, "a")
    assert fake.loads == ["a", "b", "a"]


def test_the_least_recently_used_leaves_first(fake: FakeFamily, catalog: Catalog) -> None:
    use(manager(catalog, limit=2), catalog, "a", "b", "a", "c", "a", "b")
    assert fake.loads == ["a", "b", "c", "b"]


def test_a_borrowed_checkpoint_is_passed_over(
    fake: FakeFamily, catalog: Catalog, stack: ExitStack
) -> None:
    lender = manager(catalog, limit=2)
    stack.enter_context(lender.borrow(plain(catalog, "a")))
    use(lender, catalog, "b", "c", "a")
    assert fake.loads == ["a", "b", "c"]


def test_a_swap_waits_for_the_borrow_to_end(fake: FakeFamily, catalog: Catalog) -> None:
    lender = manager(catalog)
    swapped = threading.Event()

    def swap() -> None:
        use(lender, catalog, "b")
        swapped.set()

    thread = threading.Thread(target=swap)
    with lender.borrow(plain(catalog, "a")):
        thread.start()
        assert not swapped.wait(0.2)
        # Others may go on with what is resident while the swap waits.
        use(lender, catalog, "a")
        assert fake.loads == ["a"]
    assert swapped.wait(PATIENCE)
    thread.join()
    assert fake.loads == ["a", "b"]


def test_many_threads_load_a_checkpoint_once(fake: FakeFamily, catalog: Catalog) -> None:
    lender = manager(catalog)
    barrier = threading.Barrier(8)
    seen: list[Checkpoint] = []

    def borrow() -> None:
        barrier.wait()
        with lender.borrow(plain(catalog, "a")) as checkpoint:
            seen.append(checkpoint)

    threads = [threading.Thread(target=borrow) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert fake.loads == ["a"]
    assert len(seen) == 8
    assert len({id(checkpoint.unet) for checkpoint in seen}) == 1


def test_threads_that_want_different_checkpoints_all_get_them(
    fake: FakeFamily, catalog: Catalog
) -> None:
    lender = manager(catalog)
    threads = [
        threading.Thread(target=use, args=(lender, catalog, *stems))
        for stems in ("abc", "cba", "bac")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert {"a", "b", "c"} == set(fake.loads)


def test_what_the_header_shows_is_refused_before_anything_is_put_away(
    fake: FakeFamily, catalog: Catalog
) -> None:
    lender = manager(catalog)
    use(lender, catalog, "a")
    with (
        pytest.raises(CorruptCheckpoint, match="strange by its header"),
        lender.borrow(plain(catalog, "strange")),
    ):
        pass
    use(lender, catalog, "a")
    assert fake.loads == ["a"]


def test_after_a_failed_load_the_next_borrow_works(fake: FakeFamily, catalog: Catalog) -> None:
    lender = manager(catalog)
    use(lender, catalog, "a")
    for _ in range(2):
        with (
            pytest.raises(CheckpointError, match="broken within"),
            lender.borrow(plain(catalog, "broken")),
        ):
            pass
    assert lender.current() is None
    use(lender, catalog, "b", "b")
    assert fake.loads == ["a", "broken", "broken", "b"]


def test_a_file_that_has_gone_is_not_found(fake: FakeFamily, catalog: Catalog) -> None:
    lender = manager(catalog)
    gone = info(catalog, "b")
    gone.path.unlink()
    use(lender, catalog, "a")
    with pytest.raises(CheckpointNotFound, match="no such file"):
        use_choice(lender, ModelChoice(checkpoint=gone))
    assert lender.current() == info(catalog, "a")


def test_an_error_within_the_borrow_ends_it(fake: FakeFamily, catalog: Catalog) -> None:
    lender = manager(catalog)
    with pytest.raises(ZeroDivisionError), lender.borrow(plain(catalog, "a")):
        raise ZeroDivisionError
    use(lender, catalog, "b")


def test_unload_frees_what_is_idle_and_can_be_repeated(fake: FakeFamily, catalog: Catalog) -> None:
    lender = manager(catalog, limit=2)
    use(lender, catalog, "a", "b")
    lender.unload()
    lender.unload()
    assert lender.current() is None
    use(lender, catalog, "a")
    assert fake.loads == ["a", "b", "a"]


def test_unload_leaves_a_running_job_its_checkpoint(fake: FakeFamily, catalog: Catalog) -> None:
    lender = manager(catalog)
    with lender.borrow(plain(catalog, "a")) as checkpoint:
        lender.unload()
        assert next(checkpoint.unet.parameters()).shape == (1, 1, 3, 3)
        # A second job may still join it.
        use(lender, catalog, "a")
        assert lender.current() == info(catalog, "a")
    assert lender.current() is None
    use(lender, catalog, "a")
    assert fake.loads == ["a", "a"]


def tiled(checkpoint: Checkpoint) -> bool:
    """Whether its convolutions wrap around, as one choice has it and another has not."""
    mode: str = checkpoint.unet.conv.padding_mode
    assert mode in ("circular", "zeros")
    return mode == "circular"


def test_a_checkpoint_is_lent_as_each_choice_wants_it(fake: FakeFamily, catalog: Catalog) -> None:
    lender = manager(catalog)
    for tiling in (False, True, True, False):
        with lender.borrow(plain(catalog, "a", tiling=tiling)) as checkpoint:
            assert tiled(checkpoint) is tiling
    assert fake.loads == ["a"]


def test_another_choice_waits_until_nobody_holds_the_checkpoint(
    fake: FakeFamily, catalog: Catalog
) -> None:
    lender = manager(catalog, limit=2)
    changed = threading.Event()
    seen: list[bool] = []

    def change() -> None:
        with lender.borrow(plain(catalog, "a", tiling=True)) as checkpoint:
            seen.append(tiled(checkpoint))
        changed.set()

    # what counts is how it is lent now, and not how it was loaded
    use_choice(lender, plain(catalog, "a", tiling=True))
    thread = threading.Thread(target=change)
    with lender.borrow(plain(catalog, "a")) as checkpoint:
        thread.start()
        assert not changed.wait(0.2)
        assert not tiled(checkpoint)
        # who wants it as it is may join, and another checkpoint is no concern of theirs
        with lender.borrow(plain(catalog, "a")) as joined:
            assert not tiled(joined)
        use(lender, catalog, "b")
        assert not changed.is_set()
    assert changed.wait(PATIENCE)
    thread.join(PATIENCE)
    assert seen == [True]
    assert fake.loads == ["a", "b"]


def test_threads_that_want_other_states_of_one_checkpoint_all_get_them(
    fake: FakeFamily, catalog: Catalog
) -> None:
    lender = manager(catalog)
    wrong: list[bool] = []

    def borrow(tiling: bool) -> None:
        for _ in range(20):
            with lender.borrow(plain(catalog, "a", tiling=tiling)) as checkpoint:
                wrong.extend(tiled(checkpoint) is not tiling for _ in range(3))

    threads = [threading.Thread(target=borrow, args=(i % 2 == 0,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert wrong == [False] * 240
    assert fake.loads == ["a"]


def test_a_choice_that_cannot_be_fitted_gives_the_checkpoint_back(
    fake: FakeFamily, catalog: Catalog, tmp_path: Path
) -> None:
    lender = manager(catalog)
    gone = VaeInfo(path=tmp_path / "gone.safetensors", name="gone.safetensors")
    broken = ModelChoice(checkpoint=info(catalog, "a"), vae=gone)
    for _ in range(2):
        with pytest.raises(CheckpointNotFound, match="no such file"):
            use_choice(lender, broken)
    # it stays loaded, and nobody holds it: another state of it, or another checkpoint, may come
    assert lender.current() == info(catalog, "a")
    with lender.borrow(plain(catalog, "a", tiling=True)) as checkpoint:
        assert tiled(checkpoint)
    use(lender, catalog, "b")
    assert fake.loads == ["a", "b"]


def test_unload_while_another_choice_waits_loads_it_anew(
    fake: FakeFamily, catalog: Catalog
) -> None:
    lender = manager(catalog)
    done = threading.Event()

    def change() -> None:
        use_choice(lender, plain(catalog, "a", tiling=True))
        done.set()

    thread = threading.Thread(target=change)
    with lender.borrow(plain(catalog, "a")):
        thread.start()
        assert not done.wait(0.2)
        lender.unload()
    assert done.wait(PATIENCE)
    thread.join(PATIENCE)
    assert fake.loads == ["a", "a"]
    assert lender.current() == info(catalog, "a")


def test_the_checkpoint_used_last_is_current_whatever_is_on_it(
    fake: FakeFamily, catalog: Catalog
) -> None:
    lender = manager(catalog, limit=2)
    use(lender, catalog, "a", "b")
    use_choice(lender, plain(catalog, "a", tiling=True))
    current = lender.current()
    assert current is not None
    assert current.stem == "a"
    assert current.sha256 is not None
