"""Samplers on time steps: DDIM, its CFG++, PLMS and UniPC."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from pipelines.samplers import find_sampler
from pipelines.steps import DenoiseApart

from ..toy import Script, drive, order_of, spec
from .runs import DATA, START, end_of, error_of, exact_end, log_spaced, ran


@pytest.mark.parametrize("name", ["DDIM", "DDIM CFG++", "PLMS"])
def test_without_updates_it_gives_the_start_in_its_own_scale(name: str) -> None:
    end, asked = ran(name, [0.3])
    torch.testing.assert_close(end, START / math.hypot(1, 0.3))
    assert asked == []


def vp_ddim(x: Tensor, sigmas: Sequence[float], noise: Tensor, eta: float) -> Tensor:
    """Equations 12 and 16 of https://arxiv.org/abs/2010.02502, in the paper's own scale."""
    alphas = [1 / (1 + sigma**2) for sigma in sigmas]
    for i in range(len(sigmas) - 1):
        a, following = alphas[i], alphas[i + 1]
        predicted = DATA.denoised(x / math.sqrt(a), sigmas[i])
        epsilon = (x - math.sqrt(a) * predicted) / math.sqrt(1 - a)
        spread = eta * math.sqrt((1 - following) / (1 - a)) * math.sqrt(1 - a / following)
        x = math.sqrt(following) * predicted + math.sqrt(1 - following - spread**2) * epsilon
        x = x + spread * noise
    return x


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("name", ["DDIM", "DDIM CFG++"])
def test_ddim_is_the_paper_s_update(name: str, eta: float) -> None:
    sigmas = [12.0, 5.0, 1.5, 0.4, 0.04]
    noise = Script()
    expected = vp_ddim(START / math.hypot(1, sigmas[0]), sigmas, noise.value, eta)
    torch.testing.assert_close(end_of(name, sigmas, noise, eta=eta), expected)


def test_ddim_ends_on_the_scale_of_the_first_time_step() -> None:
    sigmas = [9.0, 2.0, 0.6]
    plain = end_of("Euler", sigmas)
    torch.testing.assert_close(end_of("DDIM", sigmas), plain / math.sqrt(1 + 0.6**2))


def test_cfgpp_takes_the_direction_of_the_unguided_noise() -> None:
    sigmas = [6.0, 2.0, 0.5]
    sampling = find_sampler("DDIM CFG++").function(START, sigmas, Script(), spec("DDIM CFG++"))
    first = next(sampling)
    assert isinstance(first, DenoiseApart)
    assert first.scale == pytest.approx(1 / 12.5)
    assert first.sigma == 6.0
    guided, plain = START * 0.1 + 0.3, START * 0.2
    second = sampling.send((guided, plain))
    torch.testing.assert_close(second.x, guided + (START - plain) / 6.0 * 2.0)
    assert second.sigma == 2.0
    with pytest.raises(StopIteration) as end:
        sampling.send((plain, guided))
    expected = plain + (second.x - guided) / 2.0 * 0.5
    torch.testing.assert_close(end.value.value, expected / math.hypot(1, 0.5))


#: weights of slopes, newest first, by how many older ones are known, in the textbook's fractions
ADAMS_BASHFORTH = {
    1: [3 / 2, -1 / 2],
    2: [23 / 12, -16 / 12, 5 / 12],
    3: [55 / 24, -59 / 24, 37 / 24, -9 / 24],
}


def test_plms_weighs_the_last_four_slopes() -> None:
    sigmas = [16.0, 9.0, 5.0, 3.0, 2.0, 1.0, 0.5]
    slopes = {
        sigma: torch.randn(1, generator=torch.Generator().manual_seed(i)).double()
        for i, sigma in enumerate(sigmas)
    }
    sampling = find_sampler("PLMS").function(START, sigmas, Script(), spec("PLMS"))
    step = next(sampling)
    known: list[Tensor] = []
    x = START
    for i, (sigma, following) in enumerate(pairwise(sigmas)):
        assert step.sigma == sigma
        torch.testing.assert_close(step.x, x)
        known = [slopes[sigma], *known[:3]]
        if i == 0:  # Heun's step asks once more, at the place an Euler step leads to
            step = sampling.send(step.x - sigma * slopes[sigma])
            assert step.sigma == following
            torch.testing.assert_close(step.x, x + slopes[sigma] * (following - sigma))
            weighted = (slopes[sigma] + slopes[following]) / 2
            answer = step.x - following * slopes[following]
        else:
            weights = ADAMS_BASHFORTH[len(known) - 1]
            weighted = sum(
                (each * weight for each, weight in zip(known, weights, strict=True)),
                start=torch.zeros(1).double(),
            )
            answer = step.x - sigma * slopes[sigma]
        x = x + weighted * (following - sigma)
        try:
            step = sampling.send(answer)
        except StopIteration as end:
            torch.testing.assert_close(end.value, x / math.hypot(1, 0.5))
    assert i == 5


def test_plms_asks_once_more_than_it_steps() -> None:
    _, asked = ran("PLMS", [6.0, 2.0, 0.5, 0.1])
    assert asked == [6.0, 2.0, 2.0, 0.5]


UNIPC = pytest.mark.parametrize("bh2", [False, True], ids=["bh1", "bh2"])


def exact_away(sigma: float) -> Tensor:
    return DATA.moved(START, 10.0, sigma)


@UNIPC
@pytest.mark.parametrize(("order", "steps"), [(1, [40, 80, 160]), (2, [40, 80, 160])])
def test_unipc_is_of_one_order_more_than_its_predictor(
    order: int, steps: list[int], bh2: bool
) -> None:
    settings: dict[str, Any] = {"unipc_order": order, "unipc_lower_order_final": False}

    def error(count: int) -> float:
        return error_of("UniPC", count, unipc_bh2=bh2, **settings)

    assert order_of(error, steps) == pytest.approx([order + 1] * 2, abs=0.15)


@UNIPC
def test_unipc_of_order_3_is_better_than_of_order_2(bh2: bool) -> None:
    def error(order: int, count: int = 80) -> float:
        settings: dict[str, Any] = {"unipc_order": order, "unipc_bh2": bh2}
        return error_of("UniPC", count, unipc_lower_order_final=False, **settings)

    assert error(3) < error(2) / 5 < error(1) / 25
    assert math.log2(error(3, 80) / error(3, 160)) > 3.5


@UNIPC
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("final", [False, True])
def test_unipc_asks_once_a_step(order: int, bh2: bool, final: bool) -> None:
    settings: dict[str, Any] = {"unipc_order": order, "unipc_bh2": bh2}
    sigmas = log_spaced(10.0, 0.1, 7)
    found, asked = ran("UniPC", sigmas, unipc_lower_order_final=final, **settings)
    assert asked == sigmas[:-1]
    exact = exact_end("UniPC", 10.0, 0.1)
    assert float((found - exact).abs().max()) < 0.4


def test_unipc_s_variants_differ() -> None:
    sigmas = log_spaced(10.0, 0.1, 7)
    one, two = (end_of("UniPC", sigmas, unipc_bh2=bh2) for bh2 in (False, True))
    assert not torch.allclose(one, two)


@pytest.mark.parametrize("order", [1, 2, 3])
@UNIPC
def test_unipc_of_one_step_is_ddim_s_update(order: int, bh2: bool) -> None:
    found, asked = ran("UniPC", [5.0, 0.5], unipc_order=order, unipc_bh2=bh2)
    torch.testing.assert_close(found, end_of("DDIM", [5.0, 0.5]))
    assert asked == [5.0]


def test_unipc_s_last_step_is_of_order_1_where_lower_orders_are_wanted() -> None:
    sigmas = log_spaced(10.0, 0.1, 41)
    answers: list[Tensor] = []

    def remember(x: Tensor, sigma: float) -> Tensor:
        answers.append(DATA.denoised(x, sigma))
        return answers[-1]

    sampling = find_sampler("UniPC").function(START, sigmas, Script(), spec("UniPC", steps=40))
    end, _ = drive(sampling, remember)
    # DDIM's update backwards gives the corrected latents before the last step
    ratio = sigmas[-1] / sigmas[-2]
    corrected = (end * math.hypot(1, 0.1) - answers[-1]) / ratio + answers[-1]
    torch.testing.assert_close(corrected, exact_away(sigmas[-2]), atol=1e-4, rtol=0)


@UNIPC
def test_unipc_s_corrector_brings_it_closer(bh2: bool) -> None:
    """The latents after the first step, predicted in one run and corrected in a longer one."""
    predicted = end_of("UniPC", [10.0, 6.0], unipc_bh2=bh2) * math.hypot(1, 6.0)
    corrected = end_of("UniPC", [10.0, 6.0, 6.0 * (1 - 1e-9)], unipc_bh2=bh2) * math.hypot(1, 6.0)
    exact = exact_away(6.0)
    assert float((corrected - exact).abs().max()) < float((predicted - exact).abs().max()) / 2
