"""Samplers of Euler's kind: churn, ancestral noise, multistep slopes, consistency, Restart."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from pipelines.samplers import find_sampler

from ..toy import Script, drive, order_of, spec
from .runs import DATA, START, end_of, error_of, log_spaced, ran, spread_of


@pytest.mark.parametrize("name", ["Euler a", "DPM2 a"])
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_noise_keeps_the_data_s_variance(name: str, eta: float) -> None:
    sigmas = log_spaced(6.0, 0.2, 81)
    mean, deviation = spread_of(name, sigmas, eta=eta)
    assert mean == pytest.approx(DATA.mean, abs=0.02)
    assert deviation == pytest.approx(DATA.deviation(0.2), rel=0.03)


@pytest.mark.parametrize("name", ["Euler", "Heun", "DPM2"])
def test_churn_keeps_the_data_s_variance(name: str) -> None:
    sigmas = log_spaced(6.0, 0.2, 401)
    mean, deviation = spread_of(name, sigmas, s_churn=40.0)
    assert mean == pytest.approx(DATA.mean, abs=0.02)
    assert deviation == pytest.approx(DATA.deviation(0.2), rel=0.03)


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_euler_a_adds_the_posterior_s_noise(eta: float) -> None:
    noise = Script()
    end = end_of("Euler a", [4.0, 3.0], noise, eta=eta)
    up = eta * 3.0 * math.sqrt(4.0**2 - 3.0**2) / 4.0
    down = math.sqrt(9.0 - up**2)
    denoised = DATA.denoised(START, 4.0)
    torch.testing.assert_close(end, denoised + (START - denoised) * (down / 4.0) + up)


def test_noise_never_exceeds_the_next_sigma() -> None:
    noise = Script()
    end = end_of("Euler a", [4.0, 3.0], noise, eta=50.0)
    torch.testing.assert_close(end, DATA.denoised(START, 4.0) + 3.0)


@pytest.mark.parametrize("name", ["Euler", "Heun", "DPM2"])
def test_churn_raises_the_sigmas_inside_its_range_only(name: str) -> None:
    noise = Script()
    _, asked = ran(name, [8.0, 4.0, 0.5, 0.0], noise, s_churn=0.3, s_tmin=1.0, s_tmax=5.0)
    raised = 4.0 * 1.1
    expected = {
        "Euler": [8.0, raised, 0.5],
        "Heun": [8.0, 4.0, raised, 0.5, 0.5],
        "DPM2": [8.0, math.sqrt(32), raised, math.sqrt(raised * 0.5), 0.5],
    }
    assert asked == pytest.approx(expected[name])
    assert noise.draws == 1


def test_churn_adds_just_the_noise_that_the_raised_sigma_needs() -> None:
    seen: list[Tensor] = []

    def remember(x: Tensor, sigma: float) -> Tensor:
        seen.append(x)
        return DATA.denoised(x, sigma)

    numbers = spec("Euler", s_churn=0.5, s_noise=1.5)
    drive(find_sampler("Euler").function(START, [4.0, 2.0], Script(), numbers), remember)
    added = 1.5 * math.sqrt((4.0 * 1.4142135623730951) ** 2 - 4.0**2)
    capped = spec("Euler", s_churn=99.0, s_noise=1.5)
    drive(find_sampler("Euler").function(START, [4.0, 2.0], Script(), capped), remember)
    torch.testing.assert_close(seen[0], START + added)
    torch.testing.assert_close(seen[1], seen[0])


def test_dpm2_a_follows_the_slope_at_the_middle_of_the_way_down() -> None:
    noise = Script()
    end, asked = ran("DPM2 a", [4.0, 3.0], noise, eta=1.0, s_noise=0.5)
    down, up = 9 / 4, math.sqrt(9 - (9 / 4) ** 2)
    middle = math.sqrt(4.0 * down)
    at_start = (START - DATA.denoised(START, 4.0)) / 4.0
    ahead = START + at_start * (middle - 4.0)
    at_middle = (ahead - DATA.denoised(ahead, middle)) / middle
    torch.testing.assert_close(end, START + at_middle * (down - 4.0) + 0.5 * up)
    assert (asked, noise.draws) == ([4.0, pytest.approx(middle)], 1)


def polynomial(powers: int) -> tuple[Tensor, list[float]]:
    """What LMS makes of slopes that are a sum of powers of sigma, and the exact ends."""
    sigmas = [9.0, 6.0, 4.5, 3.0, 1.0, 0.4, 0.1]
    factors = [0.5, -1.5, 0.25, 0.125][: powers + 1]
    ends: list[float] = []

    def denoise(x: Tensor, sigma: float) -> Tensor:
        ends.append(float(x.flatten()[0]))
        return x - sigma * sum(factor * sigma**k for k, factor in enumerate(factors))

    sampling = find_sampler("LMS").function(torch.zeros(1).double(), sigmas, Script(), spec("LMS"))
    found, _ = drive(sampling, denoise)

    def integral(start: float, end: float) -> float:
        return sum(f * (end ** (k + 1) - start ** (k + 1)) / (k + 1) for k, f in enumerate(factors))

    known = [*ends, float(found)]
    steps = [now - last for last, now in pairwise(known)]
    exact = [integral(start, end) for start, end in pairwise(sigmas)]
    return torch.tensor(steps), exact


@pytest.mark.parametrize("powers", [0, 1, 2, 3])
def test_lms_is_exact_for_slopes_that_are_polynomials(powers: int) -> None:
    steps, exact = polynomial(powers)
    # as many slopes must be known as the polynomial has coefficients
    assert steps.tolist()[powers:] == pytest.approx(exact[powers:], rel=1e-6)
    for found, wanted in zip(steps.tolist()[:powers], exact, strict=False):
        assert found != pytest.approx(wanted, rel=1e-3)


def test_lms_is_of_a_higher_order_than_2() -> None:
    assert min(order_of(lambda steps: error_of("LMS", steps), [20, 40, 80])) > 2.5


def test_lcm_jumps_to_the_answer_and_adds_the_next_sigma_s_noise() -> None:
    noise = Script(0.5)
    end, asked = ran("LCM", [6.0, 2.0, 0.5], noise)
    x = DATA.denoised(START, 6.0) + 2.0 * 0.5
    torch.testing.assert_close(end, DATA.denoised(x, 2.0) + 0.5 * 0.5)
    assert (asked, noise.draws) == ([6.0, 2.0], 2)


def test_restart_is_heun_below_20_steps() -> None:
    sigmas = [*log_spaced(14.6, 0.03, 19), 0.0]
    noise = Script()
    found, asked = ran("Restart", sigmas, noise)
    heun, heun_asked = ran("Heun", sigmas)
    assert torch.equal(found, heun)
    assert asked == heun_asked
    assert noise.draws == 0


def karras(n: int, low: float, high: float) -> list[float]:
    ends = high ** (1 / 7), low ** (1 / 7)
    return [(ends[0] + i / (n - 1) * (ends[1] - ends[0])) ** 7 for i in range(n)]


def nearest(sigmas: list[float], wanted: float) -> int:
    return min(range(len(sigmas)), key=lambda i: abs(sigmas[i] - wanted))


@pytest.mark.parametrize(
    ("steps", "main", "again", "times"),
    [(20, 11, 9, 1), (35, 26, 9, 1), (36, 18, 9, 2), (40, 20, 10, 2)],
)
def test_restart_goes_back_up_from_a_tenth_to_2(
    steps: int, main: int, again: int, times: int
) -> None:
    low, high = 0.03, 14.6
    noise = Script()
    _, asked = ran("Restart", [*karras(steps, low, high), 0.0], noise)

    path = [*karras(main, low, high), 0.0]
    bottom, top = nearest(path, 0.1), nearest(path, 2.0)
    loop = list(pairwise(karras(again + 1, path[bottom], path[top])))
    steps_down = list(pairwise(path))
    expected = steps_down[:bottom] + loop * times + steps_down[bottom:]
    both_ends = [sigma for step in expected for sigma in step if sigma]
    assert asked == pytest.approx(both_ends)
    # the steps are the plan's, the last of them without its second call
    assert len(asked) == 2 * steps - 1
    assert noise.draws == times


def test_restart_adds_the_noise_between_the_two_sigmas() -> None:
    sigmas = [*karras(20, 0.03, 14.6), 0.0]
    seen: list[tuple[float, Tensor]] = []

    def remember(x: Tensor, sigma: float) -> Tensor:
        seen.append((sigma, x))
        return DATA.denoised(x, sigma)

    for value in (0.0, 2.0):
        function = find_sampler("Restart").function
        drive(function(START, sigmas, Script(value), spec("Restart", s_noise=1.5)), remember)
    silent, loud = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    up = next(i for i, (last, now) in enumerate(pairwise(silent)) if now[0] > last[0]) + 1
    bottom, top = silent[up - 1][0], silent[up][0]
    assert top == pytest.approx(2.0, abs=0.7)
    assert bottom == pytest.approx(0.1, abs=0.07)
    added = 1.5 * 2.0 * math.sqrt(top**2 - bottom**2)
    torch.testing.assert_close(loud[up][1] - silent[up][1], torch.full_like(START, added))
    assert all(torch.equal(a[1], b[1]) for a, b in zip(silent[:up], loud[:up], strict=True))


@pytest.mark.parametrize("steps", [24, 48])
def test_restart_keeps_the_data_s_variance(steps: int) -> None:
    mean, deviation = spread_of("Restart", [*karras(steps, 0.02, 6.0), 0.0])
    assert mean == pytest.approx(DATA.mean, abs=0.02)
    assert deviation == pytest.approx(DATA.spread, rel=0.03)


def test_restart_stays_down_where_the_schedule_never_reaches_2() -> None:
    noise = Script()
    _, asked = ran("Restart", [*karras(20, 0.03, 0.08), 0.0], noise)
    assert noise.draws == 0
    assert asked == sorted(asked, reverse=True)
