"""From raw outputs to noise-free latents."""

import math
from typing import Any

import pytest
import torch

from pipelines.denoiser import Denoiser
from pipelines.steps import Conditioning

from .toy import Gaussian, sd1_table

TABLE = sd1_table()
X = torch.linspace(-3, 3, 16).reshape(1, 4, 2, 2)
COND = Conditioning(torch.full((1, 77, 3), 2.0))


def denoiser(prediction: Any = "epsilon", *, consistency: bool = False) -> Denoiser:
    table = TABLE.subset(50) if consistency else TABLE
    return Denoiser(table=table, prediction=prediction, consistency=consistency)


def test_a_row_is_scaled_to_unit_variance_at_the_sigma_s_time_step() -> None:
    row = denoiser().row(X, 3.0, COND)
    torch.testing.assert_close(row.x, X / math.sqrt(10))
    assert row.timestep == pytest.approx(TABLE.timestep(3.0))
    assert row.told is COND


@pytest.mark.parametrize("sigma", [0.05, 1.0, 14.0])
def test_epsilon_is_taken_off(sigma: float) -> None:
    data, noise = X + 1, X * 0.3
    noised = data + sigma * noise
    torch.testing.assert_close(denoiser().denoised(noised, sigma, noise), data)


@pytest.mark.parametrize("sigma", [0.05, 1.0, 14.0])
def test_v_is_turned_into_data(sigma: float) -> None:
    data, noise = X + 1, X * 0.3
    alpha, spread = 1 / math.hypot(1, sigma), sigma / math.hypot(1, sigma)
    velocity = alpha * noise - spread * data
    noised = data + sigma * noise
    found = denoiser("v").denoised(noised, sigma, velocity)
    torch.testing.assert_close(found, data, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("timestep", [19, 39, 519, 979, 999])
def test_a_consistency_model_mixes_its_answer_with_its_input(timestep: int) -> None:
    sigma = float(TABLE.sigmas[timestep])
    noise = X * 0.3
    # the boundary scalings of https://arxiv.org/abs/2310.04378 with 0.5 and ten times the step
    time = 10 * timestep
    skip, out = 0.25 / (time**2 + 0.25), time / math.sqrt(time**2 + 0.25)
    found = denoiser(consistency=True).denoised(X, sigma, noise)
    torch.testing.assert_close(found, out * (X - sigma * noise) + skip * X)


def test_a_consistency_model_is_asked_at_its_own_time_steps() -> None:
    between = math.sqrt(TABLE.sigmas[519] * TABLE.sigmas[539])
    asked = [denoiser(consistency=True).row(X, s, COND).timestep for s in (between * 0.99, 14.6)]
    assert asked == [519.0, 999.0]


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_an_exact_model_gives_the_exact_denoised(prediction: str) -> None:
    data, sigma = Gaussian(), 2.0
    expected = data.denoised(X, sigma)
    noise = (X - expected) / sigma
    output = noise
    if prediction == "v":
        output = (noise - sigma * expected) / math.hypot(1, sigma)
    found = denoiser(prediction).denoised(X, sigma, output)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
