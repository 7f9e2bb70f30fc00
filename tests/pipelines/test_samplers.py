"""Samplers against a Gaussian's exact denoiser, whose ODE and SDE have closed forms."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipelines.noise import BatchNoise
from pipelines.plan import BadPlan, SamplerSpec
from pipelines.samplers import SAMPLERS, Sampler, find_sampler

from .toy import Gaussian, Script, drive, order_of, seeds, spec

RECORDED = Path(__file__).parent.parent / "data" / "responses" / "get_samplers.json"
DATA = Gaussian()
START = torch.tensor([-9.0, -2.0, 0.7, 1.0, 5.0, 12.0], dtype=torch.float64).reshape(1, 6, 1, 1)
BY_NAME = pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)


def log_spaced(high: float, low: float, n: int) -> list[float]:
    return [high * (low / high) ** (i / (n - 1)) for i in range(n)]


def ran(
    name: str,
    sigmas: Sequence[float],
    noise: Any = None,
    start: Tensor = START,
    **numbers: Any,
) -> tuple[Tensor, list[float]]:
    chosen = find_sampler(name).function
    script = noise or Script()
    return drive(chosen(start, sigmas, script, spec(name, **numbers)), DATA.denoised)


def end_of(name: str, sigmas: Sequence[float], noise: Any = None, **numbers: Any) -> Tensor:
    return ran(name, sigmas, noise, **numbers)[0]


def exact_end(name: str, sigmas: Sequence[float]) -> Tensor:
    """Where the ODE ends, in the scale in which the sampler gives it back."""
    end = DATA.moved(START, sigmas[0], sigmas[-1])
    return end / math.hypot(1, sigmas[-1]) if find_sampler(name).on_timesteps else end


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("Euler", 1),
        ("Euler a", 1),
        ("DDIM", 1),
        ("Heun", 2),
        ("DPM++ 2M", 2),
        ("DPM++ SDE", 2),
        ("DPM++ 2M SDE", 2),
        ("DPM++ 2M SDE Heun", 2),
    ],
)
def test_without_noise_it_converges_to_the_ode_in_its_order(name: str, order: int) -> None:
    def error(steps: int) -> float:
        sigmas = log_spaced(10.0, 0.1, steps + 1)
        away = end_of(name, sigmas) - exact_end(name, sigmas)
        return float(away.abs().max())

    assert order_of(error, [80, 160, 320]) == pytest.approx([order, order], abs=0.1)
    assert error(320) < (0.05 if order == 1 else 0.001)


@BY_NAME
def test_every_sampler_is_in_the_convergence_test(sampler: Sampler) -> None:
    sigmas = log_spaced(10.0, 0.1, 641)
    torch.testing.assert_close(
        end_of(sampler.name, sigmas), exact_end(sampler.name, sigmas), atol=0.03, rtol=0
    )


@BY_NAME
def test_the_data_s_mean_is_a_fixed_point(sampler: Sampler) -> None:
    still = torch.full((1, 1, 1, 1), DATA.mean, dtype=torch.float64)
    end = end_of(sampler.name, [8.0, 3.0, 1.0, 0.3], start=still)
    scale = math.hypot(1, 0.3) if sampler.on_timesteps else 1.0
    torch.testing.assert_close(end * scale, still)


@BY_NAME
def test_a_last_sigma_of_0_gives_the_last_denoised(sampler: Sampler) -> None:
    answers: list[Tensor] = []

    def remember(x: Tensor, sigma: float) -> Tensor:
        answers.append(DATA.denoised(x, sigma))
        return answers[-1]

    sampling = sampler.function(START, [6.0, 2.0, 0.5, 0.0], Script(), spec(sampler.name, eta=1.0))
    end, _ = drive(sampling, remember)
    torch.testing.assert_close(end, answers[-1])
    assert not torch.allclose(answers[-1], answers[-2])


@BY_NAME
def test_one_step_to_0_is_the_denoised_of_the_start(sampler: Sampler) -> None:
    noise = Script()
    end, asked = ran(sampler.name, [5.0, 0.0], noise, eta=1.0)
    torch.testing.assert_close(end, DATA.denoised(START, 5.0))
    assert (asked, noise.draws, noise.asked) == ([5.0], 0, [])


@BY_NAME
def test_second_order_asks_once_between_every_two_sigmas(sampler: Sampler) -> None:
    sigmas = [6.0, 2.0, 0.5, 0.0]
    _, asked = ran(sampler.name, sigmas)
    expected: Mapping[str, list[float]] = {
        "Heun": [6.0, 2.0, 2.0, 0.5, 0.5],
        "DPM++ SDE": [6.0, math.sqrt(12), 2.0, 1.0, 0.5],
    }
    assert asked == pytest.approx(expected.get(sampler.name, [6.0, 2.0, 0.5]))
    assert len(asked) == (5 if sampler.second_order else 3)


def test_ddim_without_updates_gives_the_start_in_its_own_scale() -> None:
    end, asked = ran("DDIM", [0.3])
    torch.testing.assert_close(end, START / math.hypot(1, 0.3))
    assert asked == []


@pytest.mark.parametrize(
    ("ancestral", "plain"),
    [("Euler a", "Euler"), ("DPM++ 2M SDE", "DPM++ 2M")],
)
def test_eta_0_makes_it_the_deterministic_one(ancestral: str, plain: str) -> None:
    sigmas = [*log_spaced(14.6, 0.03, 9), 0.0]
    noise = Script()
    torch.testing.assert_close(end_of(ancestral, sigmas, noise), end_of(plain, sigmas))
    assert (noise.draws, noise.asked) == (0, [])


def test_the_two_sde_solvers_differ() -> None:
    sigmas = log_spaced(10.0, 0.1, 6)
    apart = end_of("DPM++ 2M SDE", sigmas) - end_of("DPM++ 2M SDE Heun", sigmas)
    assert float(apart.abs().max()) > 0.01


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
def test_ddim_is_the_paper_s_update(eta: float) -> None:
    sigmas = [12.0, 5.0, 1.5, 0.4, 0.04]
    noise = Script()
    expected = vp_ddim(START / math.hypot(1, sigmas[0]), sigmas, noise.value, eta)
    torch.testing.assert_close(end_of("DDIM", sigmas, noise, eta=eta), expected)


def test_ddim_ends_on_the_scale_of_the_first_time_step() -> None:
    sigmas = [9.0, 2.0, 0.6]
    plain = end_of("Euler", sigmas)
    torch.testing.assert_close(end_of("DDIM", sigmas), plain / math.sqrt(1 + 0.6**2))


def spread_of(name: str, sigmas: Sequence[float], **numbers: float) -> tuple[float, float]:
    """Mean and standard deviation of 16384 numbers that started as the noised data."""
    generator = torch.Generator().manual_seed(7)
    size = (4, 64, 64)
    start = DATA.mean + DATA.deviation(sigmas[0]) * torch.randn((1, *size), generator=generator)
    noise = BatchNoise(seeds(3), size, torch.device("cpu"), sigmas)
    end, _ = ran(name, sigmas, noise, start, **numbers)
    return float(end.mean()), float(end.std())


@pytest.mark.parametrize("name", ["Euler a", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun"])
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_noise_keeps_the_data_s_variance(name: str, eta: float) -> None:
    sigmas = log_spaced(6.0, 0.2, 26 if name.startswith("DPM") else 81)
    mean, deviation = spread_of(name, sigmas, eta=eta)
    assert mean == pytest.approx(DATA.mean, abs=0.02)
    assert deviation == pytest.approx(DATA.deviation(0.2), rel=0.03)


@pytest.mark.parametrize("name", ["Euler", "Heun"])
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


def test_dpmpp_sde_asks_the_path_for_the_half_and_the_whole_step() -> None:
    noise = Script()
    ran("DPM++ SDE", [8.0, 2.0, 0.5, 0.0], noise, eta=1.0)
    assert [number for pair in noise.asked for number in pair] == pytest.approx(
        [8.0, 4.0, 8.0, 2.0, 2.0, 1.0, 2.0, 0.5]
    )
    assert noise.draws == 0


@pytest.mark.parametrize("name", ["DPM++ 2M SDE", "DPM++ 2M SDE Heun"])
def test_the_multistep_sde_adds_the_exact_variance_of_the_step(name: str) -> None:
    noise = Script()
    end = end_of(name, [8.0, 2.0], noise, eta=1.0)
    assert noise.asked == [(8.0, 2.0)]
    kept = (2.0 / 8.0) ** 2
    expected = START * kept + DATA.denoised(START, 8.0) * (1 - kept) + 2.0 * math.sqrt(1 - kept)
    torch.testing.assert_close(end, expected)


@pytest.mark.parametrize("name", ["Euler", "Heun"])
def test_churn_raises_the_sigmas_inside_its_range_only(name: str) -> None:
    noise = Script()
    _, asked = ran(name, [8.0, 4.0, 0.5, 0.0], noise, s_churn=0.3, s_tmin=1.0, s_tmax=5.0)
    raised = 4.0 * 1.1
    expected = [8.0, raised, 0.5] if name == "Euler" else [8.0, 4.0, raised, 0.5, 0.5]
    assert asked == pytest.approx(expected)
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


#: for each number, a value unlike the default, and one of the churn that makes the others matter
NUMBERS: dict[str, dict[str, float]] = {
    "eta": {"eta": 0.7},
    "s_noise": {"s_noise": 1.3, "s_churn": 1.0, "eta": 1.0},
    "s_churn": {"s_churn": 1.0},
    "s_tmin": {"s_tmin": 3.0, "s_churn": 1.0},
    "s_tmax": {"s_tmax": 3.0, "s_churn": 1.0},
}


@BY_NAME
@pytest.mark.parametrize("number", NUMBERS)
def test_it_uses_the_numbers_it_takes_and_no_others(sampler: Sampler, number: str) -> None:
    sigmas = [8.0, 4.0, 1.0, 0.5, 0.0]
    given = NUMBERS[number]
    others = {name: value for name, value in given.items() if name != number}
    with_it, without = (end_of(sampler.name, sigmas, **numbers) for numbers in (given, others))
    assert torch.equal(with_it, without) == (number not in sampler.takes)


def recorded() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(RECORDED.read_text("utf-8"))["response"]
    return rows


@BY_NAME
def test_its_row_is_what_the_webui_was_recorded_to_answer(sampler: Sampler) -> None:
    row = next(row for row in recorded() if row["name"] == sampler.name)
    assert list(sampler.aliases) == row["aliases"]
    words = [(key, str(value)) for key, value in sampler.options.items()]
    assert words == list(row["options"].items())


def test_the_rows_are_in_the_webui_s_order() -> None:
    names = [sampler.name for sampler in SAMPLERS]
    assert names == [row["name"] for row in recorded() if row["name"] in names]


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
