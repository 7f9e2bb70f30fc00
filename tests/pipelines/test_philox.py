"""Philox against published numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.philox import PhiloxGenerator, philox

ALL = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((ALL, ALL, ALL, ALL), (ALL, ALL), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_the_known_answers_of_the_random123_library(
    counter: tuple[int, ...], key: tuple[int, int], expected: str
) -> None:
    words = philox(np.array(counter, np.uint32).reshape(4, 1), key)
    assert " ".join(f"{word:08x}" for word in words[:, 0]) == expected


def test_counters_side_by_side_do_not_mix() -> None:
    counters = np.zeros((4, 3), np.uint32)
    counters[:, 2] = ALL
    both = philox(counters, (7, 9))
    for i in range(3):
        assert np.array_equal(both[:, i : i + 1], philox(counters[:, i : i + 1], (7, 9)))
    assert not np.array_equal(both[:, 0], both[:, 2])


def test_seed_0_starts_as_published() -> None:
    drawn = PhiloxGenerator(0).randn((3, 4))
    assert drawn[0].tolist() == pytest.approx([-0.92466, -0.42534, -2.6438, 0.14518], abs=5e-5)
    assert drawn.shape == (3, 4)
    assert drawn.dtype == np.float32


def test_the_second_draw_is_another_and_of_the_same_law() -> None:
    generator = PhiloxGenerator(5)
    first, second = generator.randn((40_000,)), generator.randn((40_000,))
    for drawn in (first, second):
        assert float(drawn.mean()) == pytest.approx(0, abs=0.02)
        assert float(drawn.std()) == pytest.approx(1, abs=0.02)
        assert float((np.abs(drawn) < 1).mean()) == pytest.approx(0.6827, abs=0.01)
    assert abs(float(np.corrcoef(first, second)[0, 1])) < 0.02


def test_a_draw_depends_on_the_draws_before_and_not_on_their_size() -> None:
    small, large = PhiloxGenerator(5), PhiloxGenerator(5)
    small.randn((2,))
    large.randn((9, 9))
    assert np.array_equal(small.randn((4,)), large.randn((2, 2)).ravel())


def test_elements_are_counted_through_the_shape() -> None:
    assert np.array_equal(PhiloxGenerator(3).randn((2, 6)).ravel(), PhiloxGenerator(3).randn((12,)))


@given(st.integers(-(2**70), 2**70))
@settings(deadline=None)
def test_any_seed_gives_finite_numbers_and_the_same_ones_again(seed: int) -> None:
    drawn = PhiloxGenerator(seed).randn((8,))
    assert np.isfinite(drawn).all()
    assert np.array_equal(drawn, PhiloxGenerator(seed).randn((8,)))
    assert np.array_equal(drawn, PhiloxGenerator(seed % 2**64).randn((8,)))


def test_both_halves_of_the_seed_count() -> None:
    starts = [tuple(PhiloxGenerator(seed).randn((4,))) for seed in (1, 2**32, 2**32 + 1, -1)]
    assert len(set(starts)) == 4
