"""Pictures through an autoencoder: how many at once, and what is done where memory runs out."""

import weakref

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from models.families import Checkpoint
from models.families.autoencoding import Way, decoded, encoded, passed, ways
from models.families.base import nothing_to_let_go

from .variants import reference

CPU, GPU = torch.device("cpu"), torch.device("cuda")
HALF, FULL = torch.float16, torch.float32


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return reference("tiny-vpred")


@pytest.mark.parametrize(
    ("side", "dtype", "device", "wanted"),
    [
        (64, FULL, CPU, [Way(64), Way(1)]),
        (512, FULL, CPU, [Way(1)]),
        (512, HALF, GPU, [Way(4), Way(1)]),
        (512, FULL, GPU, [Way(2), Way(1)]),
        (1024, HALF, GPU, [Way(1), Way(1, 512)]),
        (1024, FULL, GPU, [Way(1), Way(1, 512)]),
        (2048, HALF, GPU, [Way(1), Way(1, 1024), Way(1, 512)]),
        (2048, FULL, GPU, [Way(1, 1024), Way(1, 512)]),
        (2056, HALF, GPU, [Way(1, 1024), Way(1, 512)]),
    ],
)
def test_the_ways_by_size(
    side: int, dtype: torch.dtype, device: torch.device, wanted: list[Way]
) -> None:
    assert list(ways(side, side, dtype, device)) == wanted


class Short:
    """Runs out of memory for more than so many numbers at once."""

    def __init__(self, most: int, error: type[Exception] = torch.OutOfMemoryError) -> None:
        self.most = most
        self.error = error
        self.tried: list[tuple[int, int | None]] = []

    def __call__(self, values: Tensor, tile: int | None) -> Tensor:
        self.tried.append((len(values), tile))
        if len(values) * (tile or 100) > self.most:
            raise self.error("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return values + 1


VALUES = torch.arange(5.0)[:, None]


@pytest.mark.parametrize(
    ("most", "tried"),
    [
        (300, [(3, None), (2, None)]),
        (100, [(3, None), *[(1, None)] * 5]),
        (50, [(3, None), (1, None), *[(1, 50)] * 5]),
    ],
)
def test_less_goes_at_once_where_memory_runs_out(
    most: int, tried: list[tuple[int, int | None]]
) -> None:
    run = Short(most)
    found = iter([Way(3), Way(1), Way(1, 50)])
    assert torch.equal(passed(run, VALUES, found, nothing_to_let_go), VALUES + 1)
    assert run.tried == tried


def test_the_last_way_s_error_and_any_other_are_raised() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        passed(Short(10), VALUES, iter([Way(3), Way(1)]), nothing_to_let_go)
    run = Short(0, TypeError)
    with pytest.raises(TypeError):
        passed(run, VALUES, iter([Way(3), Way(1)]), nothing_to_let_go)
    assert len(run.tried) == 1


def test_what_is_held_only_to_be_fast_goes_first() -> None:
    run = Short(50)

    def lighten() -> bool:
        more, run.most = run.most < 200, 200
        return more

    found = iter([Way(3), Way(2), Way(1)])
    assert torch.equal(passed(run, VALUES, found, lighten), VALUES + 1)
    assert run.tried == [(3, None), (3, None), (2, None), (2, None), (1, None)]


def test_an_attempt_that_failed_keeps_no_memory() -> None:
    kept: list[bool] = []
    seen: list[weakref.ref[Tensor]] = []

    def run(values: Tensor, tile: int | None) -> Tensor:
        kept.extend(each() is not None for each in seen)
        if len(values) > 1:
            large = values * 2
            seen.append(weakref.ref(large))
            raise torch.OutOfMemoryError("out of memory")
        return values

    passed(run, VALUES, iter([Way(3), Way(1)]), nothing_to_let_go)
    assert kept == [False] * len(VALUES)


@torch.inference_mode()
def test_tiles_make_the_same_picture_nearly(checkpoint: Checkpoint) -> None:
    vae, generator = checkpoint.vae, torch.Generator().manual_seed(1)
    spots = torch.rand(1, 3, 24, 24, generator=generator)
    picture = 2 * interpolate(spots, size=(192, 192), mode="bicubic").clamp(0, 1) - 1
    means, in_tiles = encoded(vae, picture, None), encoded(vae, picture, 128)
    assert in_tiles.shape == means.shape == (1, 4, 24, 24)
    whole, tiled = decoded(vae, means, None), decoded(vae, means, 128)
    assert tiled.shape == whole.shape == (1, 3, 192, 192)
    # each tile is normed by itself
    for ours, theirs in ((in_tiles, means), (tiled, whole)):
        assert 0 < float((ours - theirs).abs().mean()) < 0.2 * float(theirs.std())
    # nothing is left of it
    assert torch.equal(decoded(vae, means, None), whole)
    assert (vae.use_tiling, vae.tile_sample_min_size, vae.tile_latent_min_size) == (False, 512, 64)


def test_one_that_is_too_large_to_go_whole_goes_in_tiles(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.families.autoencoding.WHOLE", 64 * 64 * 4)
    monkeypatch.setattr("models.families.autoencoding.TILES", (128, 64))
    sizes: set[int] = set()
    hook = checkpoint.vae.decoder.register_forward_pre_hook(
        lambda _, inputs: sizes.add(max(inputs[0].shape[-2:]))
    )
    try:
        assert checkpoint.decode(torch.zeros(2, 4, 24, 16)).shape == (2, 3, 192, 128)
        assert max(sizes) == 16
        sizes.clear()
        assert checkpoint.decode(torch.zeros(1, 4, 8, 8)).shape == (1, 3, 64, 64)
        assert sizes == {8}
    finally:
        hook.remove()
