"""What holds for every row of the table, and the rows beside the reference's recording."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipelines.noise import BatchNoise
from pipelines.plan import BadPlan, SamplerSpec
from pipelines.samplers import SAMPLERS, Sampler, find_sampler

from ..toy import Script, drive, order_of, seeds, spec
from .runs import DATA, START, end_of, error_of, exact_end, log_spaced, ran

RECORDED = Path(__file__).parents[2] / "data" / "responses" / "get_samplers.json"
BY_NAME = pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
#: they stop above 0, or mix older answers into the last step
NOT_TO_0 = {"LMS", "DPM fast", "DPM adaptive", "PLMS", "UniPC"}
TO_0 = pytest.mark.parametrize(
    "sampler", [s for s in SAMPLERS if s.name not in NOT_TO_0], ids=lambda sampler: sampler.name
)


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("Euler", 1),
        ("Euler a", 1),
        ("DDIM", 1),
        ("DDIM CFG++", 1),
        ("Heun", 2),
        ("DPM2", 2),
        ("DPM2 a", 2),
        ("DPM++ 2S a", 2),
        ("DPM++ 2M", 2),
        ("DPM++ SDE", 2),
        ("DPM++ 2M SDE", 2),
        ("DPM++ 2M SDE Heun", 2),
        ("DPM++ 3M SDE", 2),
        ("PLMS", 2),
        ("UniPC", 2),
    ],
)
def test_without_noise_it_converges_to_the_ode_in_its_order(name: str, order: int) -> None:
    found = order_of(lambda steps: error_of(name, steps), [80, 160, 320])
    assert found == pytest.approx([order, order], abs=0.1)
    assert error_of(name, 320) < (0.05 if order == 1 else 0.001)


@pytest.mark.parametrize(
    # a consistency sampler jumps, and follows no path
    "sampler",
    [s for s in SAMPLERS if not s.consistency],
    ids=lambda sampler: sampler.name,
)
def test_every_sampler_ends_where_the_ode_does(sampler: Sampler) -> None:
    # as few steps as Restart makes without going back, which takes noise
    many = 19 if sampler.name == "Restart" else 640
    sigmas = log_spaced(10.0, 0.1, many + 1)
    given = [*sigmas, 0.0] if sampler.own_steps else sigmas
    torch.testing.assert_close(
        end_of(sampler.name, given, steps=many),
        exact_end(sampler.name, sigmas[0], sigmas[-1]),
        atol=0.03,
        rtol=0,
    )


@BY_NAME
def test_the_data_s_mean_is_a_fixed_point(sampler: Sampler) -> None:
    still = torch.full((1, 1, 1, 1), DATA.mean, dtype=torch.float64)
    sigmas = [8.0, 3.0, 1.0, 0.3]
    end = end_of(sampler.name, sigmas, Script(0.0), start=still)
    scale = math.hypot(1, 0.3) if sampler.on_timesteps else 1.0
    torch.testing.assert_close(end * scale, still)


@TO_0
def test_a_last_sigma_of_0_gives_the_last_denoised(sampler: Sampler) -> None:
    answers: list[Tensor] = []

    def remember(x: Tensor, sigma: float) -> Tensor:
        answers.append(DATA.denoised(x, sigma))
        return answers[-1]

    sampling = sampler.function(START, [6.0, 2.0, 0.5, 0.0], Script(), spec(sampler.name, eta=1.0))
    end, _ = drive(sampling, remember)
    torch.testing.assert_close(end, answers[-1])
    assert not torch.allclose(answers[-1], answers[-2])


@TO_0
def test_one_step_to_0_is_the_denoised_of_the_start(sampler: Sampler) -> None:
    noise = Script()
    end, asked = ran(sampler.name, [5.0, 0.0], noise, eta=1.0)
    torch.testing.assert_close(end, DATA.denoised(START, 5.0))
    assert (asked, noise.draws, noise.asked) == ([5.0], 0, [])


def test_one_step_to_0_of_lms_is_the_denoised_too() -> None:
    torch.testing.assert_close(end_of("LMS", [5.0, 0.0]), DATA.denoised(START, 5.0))


@pytest.mark.parametrize(
    "sampler",
    [s for s in SAMPLERS if s.name not in NOT_TO_0 - {"LMS"}],
    ids=lambda sampler: sampler.name,
)
def test_second_order_asks_once_between_every_two_sigmas(sampler: Sampler) -> None:
    sigmas = [6.0, 2.0, 0.5, 0.0]
    _, asked = ran(sampler.name, sigmas)
    ends = [6.0, 2.0, 2.0, 0.5, 0.5]
    middles = [6.0, math.sqrt(12), 2.0, 1.0, 0.5]
    expected: Mapping[str, list[float]] = {
        "Heun": ends,
        "Restart": ends,
        "DPM++ SDE": middles,
        "DPM++ 2S a": middles,
        "DPM2": middles,
        "DPM2 a": middles,
    }
    assert asked == pytest.approx(expected.get(sampler.name, [6.0, 2.0, 0.5]))
    assert len(asked) == (5 if sampler.second_order else 3)


@pytest.mark.parametrize(
    ("ancestral", "plain"),
    [
        ("Euler a", "Euler"),
        ("DPM++ 2M SDE", "DPM++ 2M"),
        ("DPM2 a", "DPM2"),
        ("DPM++ SDE", "DPM++ 2S a"),
        ("DDIM CFG++", "DDIM"),
    ],
)
def test_eta_0_makes_it_the_deterministic_one(ancestral: str, plain: str) -> None:
    sigmas = [*log_spaced(14.6, 0.03, 9), 0.0]
    # a step of 0 standard deviations asks the path all the same
    noise = Script(0.0) if ancestral == "DPM++ SDE" else Script()
    torch.testing.assert_close(end_of(ancestral, sigmas, noise), end_of(plain, sigmas))
    assert noise.draws == 0
    assert ancestral == "DPM++ SDE" or noise.asked == []


@BY_NAME
def test_noise_comes_from_the_path_or_from_draws(sampler: Sampler) -> None:
    """With the churn and eta at work; `brownian` says which of the two."""
    noise = Script()
    ran(sampler.name, [*log_spaced(8.0, 0.05, 24), 0.03], noise, eta=1.0, s_churn=10.0)
    assert bool(noise.asked) == sampler.brownian
    # those that take a number of the noise, and the consistency sampler
    draws = bool(uses(sampler)) or sampler.consistency
    assert bool(noise.draws) == (draws and not sampler.brownian)


#: for each number, a value unlike the default, and one of the churn that makes the others matter
NUMBERS: dict[str, dict[str, float]] = {
    "eta": {"eta": 0.7},
    "s_noise": {"s_noise": 1.3, "s_churn": 1.0, "eta": 1.0},
    "s_churn": {"s_churn": 1.0},
    "s_tmin": {"s_tmin": 3.0, "s_churn": 1.0},
    "s_tmax": {"s_tmax": 3.0, "s_churn": 1.0},
}
#: what a function could use, though the reference's row gives it no such number
DEAF = {"DPM adaptive": {"s_noise"}, "Restart": {"s_noise"}}


def uses(sampler: Sampler) -> frozenset[str]:
    return sampler.takes | DEAF.get(sampler.name, set())


def test_the_reference_gives_no_s_noise_to_two_that_have_one() -> None:
    assert {s.name for s in SAMPLERS if "s_noise" in uses(s) - s.takes} == DEAF.keys()


@BY_NAME
@pytest.mark.parametrize("number", NUMBERS)
def test_it_uses_the_numbers_it_takes_and_no_others(sampler: Sampler, number: str) -> None:
    # more than 20 steps, so that Restart goes back up; some samplers cannot go down to 0
    sigmas = [*log_spaced(8.0, 0.05, 23), *([] if sampler.on_timesteps else [0.0])]
    given = NUMBERS[number]
    others = {name: value for name, value in given.items() if name != number}
    with_it, without = (end_of(sampler.name, sigmas, **numbers) for numbers in (given, others))
    assert torch.equal(with_it, without) == (number not in uses(sampler))


@BY_NAME
def test_it_runs_on_real_noise_and_keeps_the_shape(sampler: Sampler) -> None:
    sigmas = [*log_spaced(8.0, 0.05, 24), *([] if sampler.on_timesteps else [0.0])]
    noise = BatchNoise(seeds(1, 2), (4, 2, 3), torch.device("cpu"), sigmas)
    start = noise.first() * sigmas[0]
    end, _ = ran(sampler.name, sigmas, noise, start, eta=1.0, s_churn=1.0)
    assert end.shape == (2, 4, 2, 3)
    assert end.dtype == torch.float32
    assert torch.isfinite(end).all()


def recorded() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(RECORDED.read_text("utf-8"))["response"]
    return rows


@BY_NAME
def test_its_row_is_what_the_webui_was_recorded_to_answer(sampler: Sampler) -> None:
    row = next(row for row in recorded() if row["name"] == sampler.name)
    assert list(sampler.aliases) == row["aliases"]
    words = [(key, str(value)) for key, value in sampler.options.items()]
    assert words == list(row["options"].items())


def test_the_rows_are_all_of_the_webui_s_in_its_order() -> None:
    assert [sampler.name for sampler in SAMPLERS] == [row["name"] for row in recorded()]
    assert len(SAMPLERS) == 20


def test_options_are_read_only() -> None:
    with pytest.raises(TypeError):
        find_sampler("Heun").options["second_order"] = False  # type: ignore[index]


def test_a_discarding_sampler_says_so() -> None:
    row = Sampler(name="x", aliases=(), function=SAMPLERS[0].function, discards_penultimate=True)
    assert dict(row.options) == {"discard_next_to_last_sigma": True}


def test_a_sampler_is_found_by_its_exact_name() -> None:
    assert find_sampler("DPM++ 2M SDE").aliases == ("k_dpmpp_2m_sde",)


@pytest.mark.parametrize("name", ["euler", "k_euler", "", "Euler "])
def test_an_unknown_name_is_refused_with_what_is_allowed(name: str) -> None:
    with pytest.raises(BadPlan) as error:
        find_sampler(name)
    assert repr(name) in str(error.value)
    assert all(sampler.name in str(error.value) for sampler in SAMPLERS)


def test_a_spec_s_defaults_are_plain_sampling() -> None:
    plain = SamplerSpec(name="Euler", schedule="automatic", steps=1)
    assert (plain.eta, plain.s_churn, plain.s_noise) == (0.0, 0.0, 1.0)
    assert (plain.s_tmin, plain.s_tmax) == (0.0, math.inf)
