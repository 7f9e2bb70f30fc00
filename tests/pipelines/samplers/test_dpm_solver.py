"""DPM-Solver with a fixed budget of calls, and with steps that adapt."""

import math

import pytest
import torch
from torch import Tensor

from pipelines.samplers import find_sampler

from ..toy import Script, drive, order_of, spec
from .runs import DATA, START, end_of, error_of, exact_end, ran, spread_of

HIGH, LOW = 10.0, 0.1
ENDS = [HIGH, LOW, 0.0]


def test_dpm_fast_is_of_order_3() -> None:
    # with 2 calls left for the last step; a single one would be of order 1
    found = order_of(lambda steps: error_of("DPM fast", 3 * steps - 1), [20, 40, 80])
    assert found == pytest.approx([3, 3], abs=0.2)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 6, 7, 20, 31])
def test_dpm_fast_makes_as_many_calls_as_there_are_steps(steps: int) -> None:
    noise = Script()
    _, asked = ran("DPM fast", ENDS, noise, steps=steps)
    assert len(asked) == steps
    assert asked[0] == pytest.approx(HIGH)
    assert asked == sorted(asked, reverse=True)
    assert min(asked) > LOW


@pytest.mark.parametrize(("steps", "orders"), [(3, [2, 1]), (6, [3, 2, 1]), (7, [3, 3, 1])])
def test_dpm_fast_ends_in_steps_of_lower_order(steps: int, orders: list[int]) -> None:
    _, asked = ran("DPM fast", ENDS, steps=steps)
    places = {1: [0.0], 2: [0.0, 1 / 2], 3: [0.0, 1 / 3, 2 / 3]}
    expected = [
        HIGH * (LOW / HIGH) ** ((i + place) / len(orders))
        for i, order in enumerate(orders)
        for place in places[order]
    ]
    assert asked == pytest.approx(expected)


def test_dpm_fast_of_one_step_is_ddim_s_update() -> None:
    found = end_of("DPM fast", ENDS, steps=1)
    slope = (START - DATA.denoised(START, HIGH)) / HIGH
    torch.testing.assert_close(found, START + slope * (LOW - HIGH))


@pytest.mark.parametrize("name", ["DPM fast", "DPM adaptive"])
def test_only_the_ends_of_the_schedule_count(name: str) -> None:
    many = [HIGH, 7.0, 3.0, 1.0, LOW, 0.0]
    assert torch.equal(end_of(name, many, steps=6), end_of(name, ENDS, steps=6))


@pytest.mark.parametrize("name", ["DPM fast", "DPM adaptive"])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_noise_keeps_the_data_s_variance(name: str, eta: float) -> None:
    mean, deviation = spread_of(name, [6.0, 0.2, 0.0], eta=eta, steps=60)
    assert mean == pytest.approx(DATA.mean, abs=0.02)
    # adaptive steps hold an error of 5 percent each
    loose = 0.05 if name == "DPM adaptive" else 0.03
    assert deviation == pytest.approx(DATA.deviation(0.2), rel=loose)


def test_dpm_fast_goes_below_and_comes_back_up_but_never_below_the_end() -> None:
    noise = Script()
    found, asked = ran("DPM fast", ENDS, noise, steps=4, eta=1.0, s_noise=0.0)
    middle = math.sqrt(HIGH * LOW)
    # the first step aims at the posterior's sigma, below the middle; the second at the end
    down = max(middle**2 / HIGH, LOW)
    places = [HIGH * (down / HIGH) ** part for part in (0, 1 / 3, 2 / 3)]
    assert asked == pytest.approx([*places, middle])
    assert noise.draws == 2
    assert torch.isfinite(found).all()


def test_dpm_fast_adds_what_is_missing_to_the_next_sigma() -> None:
    silent, loud = (
        end_of("DPM fast", [4.0, 3.0, 0.0], Script(value), steps=1, eta=1.0, s_noise=1.5)
        for value in (0.0, 2.0)
    )
    # the last step may not aim below the end, so that nothing is missing
    assert torch.equal(silent, loud)
    silent, loud = (
        end_of("DPM fast", [4.0, 1.0, 0.0], Script(value), steps=3, eta=1.0, s_noise=1.5)
        for value in (0.0, 2.0)
    )
    up = math.sqrt(2.0**2 - 1.0**2)  # from 4 over 2 to 1, the first step aims at 1 as well
    away = 2.0 * 1.5 * up
    kept = 1 / 2 + (1 - 1 / 2) * (0.25 / (0.25 + 4.0))  # of it, by the one step that follows
    torch.testing.assert_close(loud - silent, torch.full_like(START, away * kept))


def test_dpm_adaptive_is_accurate_in_few_calls() -> None:
    found, asked = ran("DPM adaptive", ENDS)
    error = (found - exact_end("DPM adaptive", HIGH, LOW)).abs().max()
    assert float(error) < 0.05
    # a step of order 3 and its estimate of order 2 share their calls
    assert len(asked) % 3 == 0
    assert len(asked) <= 30


def test_dpm_adaptive_starts_with_a_step_of_a_twentieth() -> None:
    _, asked = ran("DPM adaptive", ENDS)
    assert asked[:4] == pytest.approx(
        [HIGH, HIGH * math.exp(-0.05 / 3), HIGH * math.exp(-0.1 / 3), HIGH * math.exp(-0.05)]
    )


def two_points(x: Tensor, sigma: float) -> Tensor:
    """The denoiser of data that is either -1 or 1: smooth at high sigmas, abrupt at low ones."""
    return torch.tanh(x / sigma**2)


def test_dpm_adaptive_refuses_steps_that_are_too_long() -> None:
    start = torch.tensor([-3.0, -0.5, 0.4, 2.0, 9.0], dtype=torch.float64)
    sampling = find_sampler("DPM adaptive").function(start, ENDS, Script(), spec("DPM adaptive"))
    found, asked = drive(sampling, two_points)
    starts = [sigma for i, sigma in enumerate(asked) if i % 3 == 0]
    again = [i for i in range(1, len(starts)) if starts[i] == starts[i - 1]]
    assert again, "a step was tried again from the same place"
    for i in again:
        assert asked[3 * i + 1] > asked[3 * i - 2], "and shorter"
    torch.testing.assert_close(found.abs(), torch.ones(5).double(), atol=0.2, rtol=0)
    assert torch.equal(found.sign(), start.sign())


def test_dpm_adaptive_draws_noise_only_for_the_steps_it_takes() -> None:
    noise = Script(0.0)
    start = torch.tensor([-3.0, -0.5, 0.4, 2.0, 9.0], dtype=torch.float64)
    function = find_sampler("DPM adaptive").function
    _, asked = drive(function(start, ENDS, noise, spec("DPM adaptive", eta=1.0)), two_points)
    starts = {sigma for i, sigma in enumerate(asked) if i % 3 == 0}
    assert noise.draws == len(starts)


def test_dpm_adaptive_between_equal_ends_does_nothing() -> None:
    found, asked = ran("DPM adaptive", [2.0, 2.0, 0.0])
    assert torch.equal(found, START)
    assert asked == []


def test_the_company_of_other_images_changes_the_steps() -> None:
    """The reference's error is the batch's as well."""
    alone, together = START[:, :1], START
    _, few = ran("DPM adaptive", ENDS, start=alone)
    _, many = ran("DPM adaptive", ENDS, start=together)
    assert few != many
