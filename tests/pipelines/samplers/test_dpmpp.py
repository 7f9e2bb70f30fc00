"""DPM-Solver++ and its stochastic kin."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from pipelines.samplers import find_sampler

from ..toy import Script, drive, spec
from .runs import DATA, START, end_of, log_spaced, ran, spread_of


def test_the_two_sde_solvers_differ() -> None:
    sigmas = log_spaced(10.0, 0.1, 6)
    apart = end_of("DPM++ 2M SDE", sigmas) - end_of("DPM++ 2M SDE Heun", sigmas)
    assert float(apart.abs().max()) > 0.01


@pytest.mark.parametrize(
    "name", ["DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a", "DPM++ 3M SDE"]
)
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_noise_keeps_the_data_s_variance(name: str, eta: float) -> None:
    sigmas = log_spaced(6.0, 0.2, 26)
    mean, deviation = spread_of(name, sigmas, eta=eta)
    assert mean == pytest.approx(DATA.mean, abs=0.02)
    assert deviation == pytest.approx(DATA.deviation(0.2), rel=0.03)


def test_dpmpp_sde_asks_the_path_for_the_half_and_the_whole_step() -> None:
    noise = Script()
    ran("DPM++ SDE", [8.0, 2.0, 0.5, 0.0], noise, eta=1.0)
    assert [number for pair in noise.asked for number in pair] == pytest.approx(
        [8.0, 4.0, 8.0, 2.0, 2.0, 1.0, 2.0, 0.5]
    )
    assert noise.draws == 0


@pytest.mark.parametrize("name", ["DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE"])
def test_the_multistep_sde_adds_the_exact_variance_of_the_step(name: str) -> None:
    noise = Script()
    end = end_of(name, [8.0, 2.0], noise, eta=1.0)
    assert noise.asked == [(8.0, 2.0)]
    kept = (2.0 / 8.0) ** 2
    expected = START * kept + DATA.denoised(START, 8.0) * (1 - kept) + 2.0 * math.sqrt(1 - kept)
    torch.testing.assert_close(end, expected)


def test_dpmpp_2s_a_looks_ahead_halfway_down_and_adds_noise() -> None:
    noise = Script()
    end, asked = ran("DPM++ 2S a", [4.0, 3.0], noise, eta=1.0, s_noise=0.5)
    down, up = 9 / 4, math.sqrt(9 - (9 / 4) ** 2)
    middle = math.sqrt(4.0 * down)
    ahead = START * (middle / 4.0) + DATA.denoised(START, 4.0) * (1 - middle / 4.0)
    target = DATA.denoised(ahead, middle)
    torch.testing.assert_close(end, START * (down / 4.0) + target * (1 - down / 4.0) + 0.5 * up)
    assert (asked, noise.draws) == ([4.0, pytest.approx(middle)], 1)


def exact_for_answers(
    name: str, sigmas: Sequence[float], coefficients: Sequence[float], eta: float
) -> tuple[Tensor, float]:
    """The end for answers that are a polynomial of log sigma, and the exact one.

    Without noise, dx/dt = (1 + eta) (answer - x) in t = -log sigma.
    """

    def answer(sigma: float) -> float:
        return sum(c * math.log(sigma) ** k for k, c in enumerate(coefficients))

    function = find_sampler(name).function
    start = torch.full((1,), 3.0, dtype=torch.float64)
    found, _ = drive(
        function(start, sigmas, Script(0.0), spec(name, eta=eta)),
        lambda x, sigma: torch.full_like(x, answer(sigma)),
    )
    rate = 1 + eta
    x, t, end = 3.0, -math.log(sigmas[0]), -math.log(sigmas[-1])
    count = 2000
    h = (end - t) / count
    for _ in range(count):  # Runge and Kutta's classic

        def change(x: float, t: float) -> float:
            return rate * (answer(math.exp(-t)) - x)

        k1 = change(x, t)
        k2 = change(x + h / 2 * k1, t + h / 2)
        k3 = change(x + h / 2 * k2, t + h / 2)
        k4 = change(x + h * k3, t + h)
        x, t = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), t + h
    return found, x


MULTISTEP = pytest.mark.parametrize("name", ["DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE"])
ETAS = pytest.mark.parametrize("eta", [0.0, 1.0])


@MULTISTEP
@ETAS
def test_a_constant_answer_is_integrated_exactly(name: str, eta: float) -> None:
    found, exact = exact_for_answers(name, [9.0, 5.0, 1.0, 0.4, 0.1], [0.4], eta)
    assert float(found) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("name", ["DPM++ 2M SDE Heun", "DPM++ 3M SDE"])
@ETAS
def test_an_answer_linear_in_log_sigma_is_integrated_exactly(name: str, eta: float) -> None:
    # the first step knows no slope yet; by the end its error has shrunk by 1e8
    found, exact = exact_for_answers(name, log_spaced(1e7, 0.1, 40), [0.4, -0.3], eta)
    assert float(found) == pytest.approx(exact, abs=1e-6)


@ETAS
def test_dpmpp_3m_corrects_by_the_published_differences(eta: float) -> None:
    """The update of DPM-Solver++(3M) as its authors give it, on a step with two before it."""
    sigmas = [9.0, 5.0, 2.0, 0.8]
    answers = [torch.tensor([value]).double() for value in (0.3, -0.6, 0.5)]
    seen: list[Tensor] = []

    def answer(x: Tensor, sigma: float) -> Tensor:
        seen.append(x)
        return answers[sigmas.index(sigma)]

    sampling = find_sampler("DPM++ 3M SDE").function(
        START, sigmas, Script(0.0), spec("DPM++ 3M SDE", eta=eta)
    )
    end, _ = drive(sampling, answer)
    h2, h1, h = (math.log(sigmas[i] / sigmas[i + 1]) for i in range(3))
    near = (answers[2] - answers[1]) / (h1 / h)
    far = (answers[1] - answers[0]) / (h2 / h)
    first = near + (near - far) * h1 / (h1 + h2)
    second = (near - far) * h / (h1 + h2)
    decay = h * (1 + eta)
    phi_2 = (math.exp(-decay) - 1) / decay + 1
    expected = seen[2] * math.exp(-decay) + answers[2] * (1 - math.exp(-decay))
    expected = expected + phi_2 * first - (phi_2 / decay - 0.5) * second
    torch.testing.assert_close(end, expected)


@ETAS
def test_dpmpp_3m_s_second_step_is_that_of_the_2m_of_heun_s_kind(eta: float) -> None:
    uneven = [9.0, 5.0, 0.8]
    silent = (Script(0.0), Script(0.0))
    third, second = (
        end_of(name, uneven, noise, eta=eta)
        for name, noise in zip(("DPM++ 3M SDE", "DPM++ 2M SDE Heun"), silent, strict=True)
    )
    torch.testing.assert_close(third, second)
