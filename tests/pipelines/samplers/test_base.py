"""What samplers share: the slope, the ancestral split of a step, and churn."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.samplers.base import ancestral, churned, slope

from ..toy import Script, spec
from .runs import DATA, START


def test_the_slope_is_the_derivative_of_the_ode() -> None:
    sigma, small = 2.0, 1e-6
    ahead, behind = (DATA.moved(START, sigma, sigma + d) for d in (small, -small))
    found = slope(START, sigma, DATA.denoised(START, sigma))
    torch.testing.assert_close(found, (ahead - behind) / (2 * small), atol=1e-6, rtol=1e-6)


@given(st.floats(0.05, 100), st.floats(0.001, 1), st.floats(0, 5))
def test_down_and_up_make_the_next_sigma(sigma: float, share: float, eta: float) -> None:
    following = sigma * share
    down, up = ancestral(sigma, following, eta)
    assert math.hypot(down, up) == pytest.approx(following)
    assert 0 <= down <= following
    assert up <= following


def test_eta_1_is_the_posterior_s_noise() -> None:
    down, up = ancestral(4.0, 3.0, 1.0)
    assert up == pytest.approx(3.0 * math.sqrt(4.0**2 - 3.0**2) / 4.0)
    assert down == pytest.approx(3.0**2 / 4.0)


@pytest.mark.parametrize(("following", "eta"), [(3.0, 0.0), (0.0, 1.0)])
def test_without_eta_or_to_0_no_noise_is_added(following: float, eta: float) -> None:
    assert ancestral(4.0, following, eta) == (following, 0.0)


@pytest.mark.parametrize(
    ("churn", "raised"),
    [(0.0, 4.0), (0.5, 4.0 * 1.1), (2.0, 4.0 * 1.4), (99.0, 4.0 * math.sqrt(2))],
)
def test_churn_is_spread_over_the_steps_and_capped(churn: float, raised: float) -> None:
    noise = Script()
    x, sigma = churned(START, 4.0, 5, noise, spec(s_churn=churn, s_noise=1.5))
    assert sigma == pytest.approx(raised)
    torch.testing.assert_close(x, START + 1.5 * math.sqrt(raised**2 - 4.0**2))
    assert noise.draws == (1 if churn else 0)


@pytest.mark.parametrize(
    ("sigma", "inside"), [(0.99, False), (1.0, True), (5.0, True), (5.1, False)]
)
def test_churn_has_a_range_of_sigmas(sigma: float, inside: bool) -> None:
    _, raised = churned(START, sigma, 1, Script(), spec(s_churn=0.1, s_tmin=1.0, s_tmax=5.0))
    assert raised == pytest.approx(sigma * 1.1 if inside else sigma)
