"""Sigma tables as settings change them."""

import numpy as np
import pytest

from pipelines.tables import LAST_ALPHA, SigmaTable, TableRule, zero_terminal_snr

#: SD1's schedule
BETAS = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
ALPHAS = np.cumprod(1 - BETAS)


def test_without_a_rule_the_table_is_the_models() -> None:
    table = TableRule().table(ALPHAS.tolist())
    plain = SigmaTable.from_alphas(ALPHAS.tolist())
    assert np.array_equal(table.sigmas, plain.sigmas)
    assert not table.quantized


def test_half_rounds_the_alphas_to_eleven_bits() -> None:
    table = TableRule(half=True).table(ALPHAS.tolist())
    alphas = 1 / (1 + table.sigmas**2)
    assert np.allclose(alphas, ALPHAS.astype(np.float16).astype(np.float64), rtol=1e-12)
    assert table.high == pytest.approx(14.6123, abs=1e-4)
    assert SigmaTable.from_alphas(ALPHAS.tolist()).high == pytest.approx(14.6146, abs=1e-4)


def test_half_leaves_no_alpha_at_zero() -> None:
    table = TableRule(half=True).table([0.9, 0.5, 1e-9])
    assert np.isfinite(table.sigmas).all()


def test_zero_terminal_snr_by_hand() -> None:
    """Roots 1, 0.6, 0.5 less 0.5 are 0.5, 0.1, 0; times 1 / 0.5 they are 1, 0.2, 0."""
    spread = zero_terminal_snr(np.array([1.0, 0.36, 0.25]))
    assert spread == pytest.approx([1.0, 0.04, LAST_ALPHA])


def test_zero_terminal_snr_keeps_the_first_and_reaches_far() -> None:
    table = TableRule(zero_terminal_snr=True).table(ALPHAS.tolist())
    plain = SigmaTable.from_alphas(ALPHAS.tolist())
    assert table.low == pytest.approx(plain.low)
    assert table.high == pytest.approx(4518.76, abs=0.1)
    assert (np.diff(table.sigmas) > 0).all()
    assert (table.sigmas >= plain.sigmas * 0.999999).all()


def test_a_quantized_table_gives_whole_time_steps() -> None:
    table = TableRule(quantized=True).table(ALPHAS.tolist())
    plain = TableRule().table(ALPHAS.tolist())
    between = float(plain.sigma(np.array([500.4]))[0])
    assert plain.timestep(between) == pytest.approx(500.4)
    assert table.timestep(between) == 500.0
    assert table.sigma(np.array([500.4])) == pytest.approx(between)
