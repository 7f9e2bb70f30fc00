from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.families.schedule import Schedule, alphas_cumprod
from models.families.weights import Weights
from models.header import Header, TensorEntry

NAME = "alphas_cumprod"


def found(schedule: Schedule, stored: Tensor | None = None) -> Tensor:
    """The schedule of a file that holds `stored` or nothing."""
    tensors = {} if stored is None else {NAME: stored}
    entries = {n: TensorEntry(dtype="F32", shape=tuple(t.shape)) for n, t in tensors.items()}
    weights = Weights(
        path=Path("/models/a.safetensors"),
        header=Header(tensors=entries, metadata={}),
        read=tensors.__getitem__,
    )
    return alphas_cumprod(schedule, weights)


def test_the_usual_schedule() -> None:
    alphas = found(Schedule())
    assert (alphas.dtype, alphas.shape) == (torch.float32, (1000,))
    assert alphas[0].item() == pytest.approx(1 - 0.00085)
    assert alphas[1].item() / alphas[0].item() == pytest.approx(
        1 - (0.00085**0.5 + (0.012**0.5 - 0.00085**0.5) / 999) ** 2
    )
    assert alphas[-1].item() == pytest.approx(0.00466009, abs=1e-7)


def test_a_files_own_goes_before_it_where_it_may() -> None:
    stored = torch.linspace(0.9, 0.1, 1000)
    assert torch.equal(found(Schedule(stored=True), stored), stored)
    assert torch.equal(found(Schedule(), stored), found(Schedule()))


@pytest.mark.parametrize(
    "stored",
    [torch.full([1000], 2.0), torch.linspace(0.1, 0.9, 1000), torch.ones(7), torch.ones(())],
    ids=["beyond 1", "rising", "short", "no list"],
)
def test_an_impossible_one_is_computed(stored: Tensor) -> None:
    assert torch.equal(found(Schedule(stored=True), stored), found(Schedule()))


def test_one_that_ends_in_noise_alone() -> None:
    plain, spread = found(Schedule()), found(Schedule(zero_terminal_snr=True))
    assert spread[-1].item() == pytest.approx(4.8973451890853435e-08)
    # by https://arxiv.org/abs/2305.08891: the roots lose the last and keep the first
    roots, first, last = plain.sqrt(), plain[0].sqrt(), plain[-1].sqrt()
    expected = ((roots - last) * first / (first - last)) ** 2
    torch.testing.assert_close(spread[:-1], expected[:-1], atol=1e-6, rtol=0)
    assert spread[0].item() == pytest.approx(plain[0].item())
    assert spread[500] < plain[500]
