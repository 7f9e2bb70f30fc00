"""Schedules against their formulas, written out once more in plain numbers."""

import dataclasses
import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta as beta_distribution

from pipelines.plan import BadPlan
from pipelines.schedules import (
    SCHEDULES,
    SigmaTable,
    find_schedule,
    schedule_sigmas,
    timestep_sigmas,
    unipc_sigmas,
)

from .toy import sd1_alphas, sd1_table, spec

RECORDED = Path(__file__).parent.parent / "data" / "responses" / "get_schedulers.json"
TABLE = sd1_table()
SIGMAS = [math.sqrt((1 - alpha) / alpha) for alpha in sd1_alphas()]
LOW, HIGH = SIGMAS[0], SIGMAS[-1]
ALIGNED = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029]
COUNTS = pytest.mark.parametrize("n", [1, 2, 3, 6, 11, 20, 50])


def sigma_at(timestep: float) -> float:
    """The sigma of a fractional time step, linear in its logarithm."""
    below = min(int(timestep), 998)
    part = timestep - below
    return math.exp(math.log(SIGMAS[below]) * (1 - part) + math.log(SIGMAS[below + 1]) * part)


def evenly(start: float, end: float, n: int) -> list[float]:
    return [start + (end - start) * i / (n - 1) for i in range(n)] if n > 1 else [start]


def karras(n: int) -> list[float]:
    high, low = HIGH ** (1 / 7), LOW ** (1 / 7)
    return [part**7 for part in evenly(high, low, n)]


def exponential(n: int) -> list[float]:
    return [math.exp(part) for part in evenly(math.log(HIGH), math.log(LOW), n)]


def aligned(n: int) -> list[float]:
    sigmas = []
    for place in evenly(0, 10, n):
        below = min(int(place), 9)
        part = place - below
        sigmas.append(ALIGNED[below] ** (1 - part) * ALIGNED[below + 1] ** part)
    return sigmas


def beta(n: int) -> list[float]:
    quantiles = [beta_distribution.ppf(1 - place, 0.6, 0.6) for place in evenly(0, 1, n)]
    return [LOW + float(quantile) * (HIGH - LOW) for quantile in quantiles]


def kl_optimal(n: int) -> list[float]:
    angles = [i / n * math.atan(LOW) + (1 - i / n) * math.atan(HIGH) for i in range(n + 1)]
    return [math.tan(angle) for angle in angles]


FORMULAS: dict[str, Callable[[int], list[float]]] = {
    "automatic": lambda n: [sigma_at(t) for t in evenly(999, 0, n)] + [0],
    "uniform": lambda n: [sigma_at(t) for t in evenly(999, 0, n)] + [0],
    "karras": lambda n: [*karras(n), 0],
    "exponential": lambda n: [*exponential(n), 0],
    "polyexponential": lambda n: [*exponential(n), 0],
    "sgm_uniform": lambda n: [sigma_at(t) for t in evenly(999, 0, n + 1)[:-1]] + [0],
    "kl_optimal": kl_optimal,
    "align_your_steps": lambda n: [*aligned(n), 0],
    "simple": lambda n: [SIGMAS[-(1 + int(i * 1000 / n))] for i in range(n)] + [0],
    "normal": lambda n: [sigma_at(t) for t in evenly(999, 0, n)] + [0],
    "ddim": lambda n: [*SIGMAS[1 :: 1000 // n][::-1], 0],
    "beta": lambda n: [*beta(n), 0],
}


@COUNTS
@pytest.mark.parametrize("name", FORMULAS)
def test_sigmas_are_those_of_the_formula(name: str, n: int) -> None:
    sigmas = schedule_sigmas(spec(steps=n, schedule=name), TABLE)
    assert sigmas == pytest.approx(FORMULAS[name](n), rel=2e-6)


def test_every_schedule_has_its_formula_here() -> None:
    assert [schedule.name for schedule in SCHEDULES] == list(FORMULAS)


@COUNTS
@pytest.mark.parametrize("name", FORMULAS)
def test_sigmas_fall_and_are_float32(name: str, n: int) -> None:
    sigmas = schedule_sigmas(spec(steps=n, schedule=name), TABLE)
    assert all(high > low for high, low in pairwise(sigmas))
    assert sigmas == [float(np.float32(sigma)) for sigma in sigmas]
    assert all(type(sigma) is float for sigma in sigmas)


def test_align_your_steps_at_11_is_the_published_table() -> None:
    sigmas = schedule_sigmas(spec(steps=11, schedule="align_your_steps"), TABLE)
    assert sigmas == pytest.approx([*ALIGNED, 0.0], rel=1e-6)


def test_ddim_can_hold_more_sigmas_than_steps() -> None:
    assert len(schedule_sigmas(spec(steps=30, schedule="ddim"), TABLE)) == 32


@pytest.mark.parametrize("name", FORMULAS)
def test_more_steps_than_time_steps_are_possible(name: str) -> None:
    sigmas = schedule_sigmas(spec(steps=1001, schedule=name), TABLE)
    assert len(sigmas) >= 1000
    assert all(math.isfinite(sigma) for sigma in sigmas)


@pytest.mark.parametrize("name", ["karras", "kl_optimal", "beta", "uniform"])
def test_discarding_leaves_out_the_last_but_one_of_one_step_more(name: str) -> None:
    longer = schedule_sigmas(spec(steps=6, schedule=name), TABLE)
    discarded = schedule_sigmas(spec(steps=5, schedule=name, discard_penultimate=True), TABLE)
    assert discarded == [*longer[:-2], longer[-1]]


@pytest.mark.parametrize("name", ["karras", "exponential", "polyexponential", "beta"])
def test_the_range_can_be_given(name: str) -> None:
    given_range = spec(steps=5, schedule=name, sigma_min=0.1, sigma_max=10.0)
    sigmas = schedule_sigmas(given_range, TABLE)
    assert (sigmas[0], sigmas[-2], sigmas[-1]) == pytest.approx((10.0, 0.1, 0.0), rel=1e-6)


def test_each_end_of_the_range_can_be_given_alone() -> None:
    lower = schedule_sigmas(spec(schedule="karras", sigma_min=0.1), TABLE)
    higher = schedule_sigmas(spec(schedule="karras", sigma_max=10.0), TABLE)
    assert (lower[0], lower[-2]) == pytest.approx((HIGH, 0.1), rel=1e-5)
    assert (higher[0], higher[-2]) == pytest.approx((10.0, LOW), rel=1e-5)


def test_kl_optimal_ends_at_the_low_sigma() -> None:
    sigmas = schedule_sigmas(spec(schedule="kl_optimal", sigma_min=0.2, sigma_max=9.0), TABLE)
    assert (sigmas[0], sigmas[-1], len(sigmas)) == pytest.approx((9.0, 0.2, 5), rel=1e-6)


@pytest.mark.parametrize("name", ["normal", "sgm_uniform"])
def test_a_given_range_becomes_time_steps(name: str) -> None:
    chosen = spec(steps=2, schedule=name, sigma_min=SIGMAS[100], sigma_max=SIGMAS[900])
    second = SIGMAS[100] if name == "normal" else SIGMAS[500]
    expected = [SIGMAS[900], second, 0.0]
    assert schedule_sigmas(chosen, TABLE) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("name", "rho"), [("karras", 2.0), ("polyexponential", 2.0)])
def test_rho_bends_the_schedule(name: str, rho: float) -> None:
    middle = schedule_sigmas(spec(steps=3, schedule=name, rho=rho), TABLE)[1]
    if name == "karras":
        assert middle == pytest.approx((math.sqrt(HIGH) / 2 + math.sqrt(LOW) / 2) ** 2, rel=1e-5)
    else:
        assert middle == pytest.approx(LOW * (HIGH / LOW) ** 0.25, rel=1e-5)


def test_the_beta_distribution_can_be_given() -> None:
    chosen = spec(steps=3, schedule="beta", beta_alpha=1.0, beta_beta=1.0)
    middle = LOW + (HIGH - LOW) / 2
    assert schedule_sigmas(chosen, TABLE) == pytest.approx([HIGH, middle, LOW, 0.0], rel=1e-5)
    skewed = spec(steps=3, schedule="beta", beta_alpha=2.0, beta_beta=1.0)
    expected = LOW + (HIGH - LOW) * math.sqrt(0.5)
    assert schedule_sigmas(skewed, TABLE)[1] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("steps", "count", "second"),
    [
        (1, 1, None),
        (6, 7, 831),
        (10, 10, 801),
        (20, 20, 901),
        (30, 31, 958),
        (999, 1000, 999),
        (1000, 1000, 999),
        (5000, 1000, 999),
    ],
)
def test_time_steps_are_whole_strides_from_1(steps: int, count: int, second: int | None) -> None:
    sigmas = timestep_sigmas(steps, TABLE)
    assert len(sigmas) == count
    assert sigmas[-1] == pytest.approx(SIGMAS[1], rel=1e-12)
    if second is not None:
        assert sigmas[1] == pytest.approx(SIGMAS[second], rel=1e-12)


@given(st.integers(1, 1000))
def test_time_steps_are_those_of_the_reference(steps: int) -> None:
    timesteps = [min(t + 1, 999) for t in range(0, 1000, 1000 // steps)]
    expected = [SIGMAS[timestep] for timestep in reversed(timesteps)]
    assert timestep_sigmas(steps, TABLE) == pytest.approx(expected, rel=1e-12)


def test_the_ends_are_those_of_sd1() -> None:
    assert TABLE.low == pytest.approx(0.0291672, rel=1e-5)
    assert TABLE.high == pytest.approx(14.6146, rel=1e-5)


@given(st.floats(0, 999))
@settings(deadline=None)
def test_timestep_is_the_inverse_of_sigma(timestep: float) -> None:
    sigma = float(TABLE.sigma(np.array(timestep)))
    assert sigma == pytest.approx(sigma_at(timestep), rel=1e-9)
    assert TABLE.timestep(sigma) == pytest.approx(timestep, abs=1e-6)


@given(st.floats(LOW, HIGH))
@settings(deadline=None)
def test_sigma_is_the_inverse_of_timestep(sigma: float) -> None:
    again = TABLE.sigma(np.array(TABLE.timestep(sigma)))
    assert float(again) == pytest.approx(sigma, rel=1e-5)


@pytest.mark.parametrize(("sigma", "timestep"), [(1e-9, 0.0), (0.01, 0.0), (15.0, 999.0)])
def test_sigmas_off_the_table_are_clamped(sigma: float, timestep: float) -> None:
    assert TABLE.timestep(sigma) == timestep


def test_another_model_s_table_counts() -> None:
    short = SigmaTable.from_alphas([0.9, 0.5, 0.2])
    assert short.sigmas.tolist() == pytest.approx([1 / 3, 1.0, 2.0])
    halfway = schedule_sigmas(spec(steps=5, schedule="uniform"), short)
    expected = [2.0, math.sqrt(2), 1.0, math.sqrt(1 / 3), 1 / 3, 0.0]
    assert halfway == pytest.approx(expected, rel=1e-6)
    assert timestep_sigmas(2, short) == pytest.approx([2.0, 2.0, 1.0])


def test_a_subset_keeps_every_so_many_th_from_the_last() -> None:
    distilled = TABLE.subset(50)
    assert distilled.timesteps.tolist() == [20 * i - 1 for i in range(1, 51)]
    assert distilled.sigmas.tolist() == [SIGMAS[20 * i - 1] for i in range(1, 51)]
    assert (distilled.low, distilled.high) == (SIGMAS[19], SIGMAS[999])
    assert distilled.quantized
    assert not TABLE.quantized


@pytest.mark.parametrize(
    ("timestep", "known"),
    [(999, 999), (519, 519), (524, 519), (534, 539), (0, 19), (19, 19), (990, 999)],
)
def test_a_quantized_table_knows_the_nearest_time_step(timestep: int, known: float) -> None:
    assert TABLE.subset(50).timestep(SIGMAS[timestep]) == known


def test_a_quantized_table_clamps_sigmas_off_it() -> None:
    assert [TABLE.subset(50).timestep(sigma) for sigma in (1e-3, 99.0)] == [19.0, 999.0]


@pytest.mark.parametrize("name", FORMULAS)
def test_every_schedule_works_on_a_subset(name: str) -> None:
    distilled = TABLE.subset(50)
    sigmas = schedule_sigmas(spec(steps=4, schedule=name), distilled)
    assert len(sigmas) >= 5
    assert all(high > low for high, low in pairwise(sigmas))
    if name == "automatic":
        assert (sigmas[0], sigmas[-2]) == pytest.approx((distilled.high, distilled.low))


def log_alpha(sigma: float) -> float:
    return -0.5 * math.log(1 + sigma**2)


def unipc_sigma(time: float) -> float:
    """The sigma of continuous time in (0, 1], log alpha being linear between time steps."""
    place = time * 1000 - 1
    below = min(int(place), 998)
    part = place - below
    alpha = math.exp(log_alpha(SIGMAS[below]) * (1 - part) + log_alpha(SIGMAS[below + 1]) * part)
    return math.sqrt(1 - alpha**2) / alpha


@pytest.mark.parametrize(("steps", "count"), [(1, 1), (6, 7), (10, 10), (20, 20), (30, 31)])
def test_unipc_has_a_step_for_every_time_step_of_ddim(steps: int, count: int) -> None:
    sigmas = unipc_sigmas(spec("UniPC", steps=steps), TABLE)
    assert len(sigmas) == count + 1
    expected = [unipc_sigma(time) for time in evenly(1, 1 / 1000, count + 1)]
    assert sigmas == pytest.approx(expected, rel=1e-9)
    assert (sigmas[0], sigmas[-1]) == pytest.approx((HIGH, LOW))


def test_unipc_s_time_can_be_spaced_quadratically() -> None:
    sigmas = unipc_sigmas(spec("UniPC", steps=10, unipc_spacing="time_quadratic"), TABLE)
    expected = [unipc_sigma(root**2) for root in evenly(1, math.sqrt(1 / 1000), 11)]
    assert sigmas == pytest.approx(expected, rel=1e-9)


def test_unipc_can_be_spaced_evenly_in_log_sigma() -> None:
    sigmas = unipc_sigmas(spec("UniPC", steps=10, unipc_spacing="logSNR"), TABLE)
    assert sigmas == pytest.approx(exponential(11), rel=1e-9)


def test_the_rows_are_what_the_webui_was_recorded_to_answer() -> None:
    recorded: list[dict[str, Any]] = json.loads(RECORDED.read_text("utf-8"))["response"]
    assert [
        {
            "name": schedule.name,
            "label": schedule.label,
            "aliases": list(schedule.aliases) or None,
            "default_rho": schedule.default_rho,
            "need_inner_model": schedule.need_inner_model,
        }
        for schedule in SCHEDULES
    ] == recorded


@pytest.mark.parametrize("name", ["Karras", "", "no"])
def test_an_unknown_name_is_refused_with_what_is_allowed(name: str) -> None:
    with pytest.raises(BadPlan) as error:
        find_schedule(name)
    assert repr(name) in str(error.value)
    assert all(schedule.name in str(error.value) for schedule in SCHEDULES)


@pytest.mark.parametrize(
    "numbers",
    [
        {"sigma_min": -5.0},
        {"sigma_max": 0.001},
        {"sigma_min": 20.0},
        {"beta_alpha": -1.0},
        {"beta_beta": 0.0},
    ],
)
@pytest.mark.parametrize("name", [schedule.name for schedule in SCHEDULES])
def test_numbers_without_a_schedule_are_refused(name: str, numbers: dict[str, float]) -> None:
    wanted = dataclasses.replace(spec(schedule=name, steps=4), **numbers)  # type: ignore[arg-type]
    with pytest.raises(BadPlan, match="allowed: 0 < low < high"):
        schedule_sigmas(wanted, TABLE)
