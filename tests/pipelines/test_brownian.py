"""Brownian paths against torchsde's tree, which the reference samples from."""

import itertools
import random
from collections.abc import Sequence

import pytest
import torch
import torchsde
from torch import Tensor

from pipelines.brownian import BrownianPath

SHAPE = (1, 4, 3, 2)
LOW, HIGH = 0.0291671, 14.6146


def randn(seed: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def path(seed: int = 1) -> BrownianPath:
    return BrownianPath(LOW, HIGH, seed=seed, randn=randn)


def reference(seed: int, pairs: Sequence[tuple[float, float]]) -> list[Tensor]:
    tree = torchsde.BrownianTree(LOW, torch.zeros(SHAPE), HIGH, entropy=seed)
    return [tree(start, end) for start, end in pairs]


def times(count: int, seed: int) -> list[float]:
    dice = random.Random(seed)
    return [LOW, HIGH, *(dice.uniform(LOW, HIGH) for _ in range(count))]


@pytest.mark.parametrize("seed", [0, 1, 31337, 2**32 - 1, 2**63 - 1])
def test_it_is_torchsde_s_tree(seed: int) -> None:
    pairs = [(min(pair), max(pair)) for pair in itertools.pairwise(times(25, seed))]
    mine = path(seed)
    for (start, end), expected in zip(pairs, reference(seed, pairs), strict=True):
        torch.testing.assert_close(mine.increment(start, end), expected, atol=1e-5, rtol=0)


def test_it_is_torchsde_s_tree_where_points_lie_close() -> None:
    pairs = [(1.0, 1.000001), (1.000001, 1.000003), (LOW, 0.0291681), (14.614598, HIGH)]
    mine = path(4)
    for (start, end), expected in zip(pairs, reference(4, pairs), strict=True):
        torch.testing.assert_close(mine.increment(start, end), expected, atol=1e-5, rtol=0)


def test_the_order_of_questions_changes_nothing() -> None:
    asked = times(30, 8)
    forwards, backwards = path(), path()
    first = {time: forwards.increment(LOW, time) for time in asked}
    second = {time: backwards.increment(LOW, time) for time in reversed(asked)}
    for time in asked:
        assert torch.equal(first[time], second[time])


def test_increments_add_up_and_turn_round() -> None:
    mine = path()
    whole = mine.increment(0.5, 9.0)
    torch.testing.assert_close(mine.increment(0.5, 3.3) + mine.increment(3.3, 9.0), whole)
    torch.testing.assert_close(mine.increment(9.0, 0.5), -whole)
    assert torch.equal(mine.increment(2.0, 2.0), torch.zeros(SHAPE))


def test_points_outside_are_clamped_to_the_ends() -> None:
    mine = path()
    assert torch.equal(mine.increment(0.0, 99.0), mine.increment(LOW, HIGH))
    assert not mine.increment(HIGH, 99.0).any()
    assert not mine.increment(-1.0, LOW).any()


def test_the_whole_increment_is_the_first_seed_s_noise() -> None:
    seen: list[int] = []

    def ones(seed: int) -> Tensor:
        seen.append(seed)
        return torch.ones(1)

    mine = BrownianPath(1.0, 5.0, seed=3, randn=ones)
    assert mine.increment(1.0, 5.0).item() == pytest.approx(2.0)
    # half of the way is half the rise, and the bridge's own noise: sqrt(2 * 2 / 4)
    assert mine.increment(1.0, 3.0).item() == pytest.approx(1.0 + 1.0)
    assert len(seen) == len(set(seen)) == 2


def test_what_was_asked_is_remembered() -> None:
    calls: list[int] = []

    def count(seed: int) -> Tensor:
        calls.append(seed)
        return randn(seed)

    mine = BrownianPath(LOW, HIGH, seed=1, randn=count)
    first = mine.increment(1.0, 2.0)
    drawn = len(calls)
    assert torch.equal(mine.increment(1.0, 2.0), first)
    assert len(calls) == drawn
    assert drawn < 2 * 26  # halving 14.6 to a millionth takes 24 steps


def test_seeds_differ() -> None:
    assert not torch.allclose(path(1).increment(LOW, 1.0), path(2).increment(LOW, 1.0))


def test_increments_have_the_variance_of_their_length() -> None:
    def wide(seed: int) -> Tensor:
        return torch.randn(20_000, generator=torch.Generator().manual_seed(seed))

    mine = BrownianPath(0.0, 10.0, seed=11, randn=wide)
    for start, end in [(0.0, 0.7), (2.3, 2.9), (4.1, 9.9)]:
        assert mine.increment(start, end).var().item() == pytest.approx(end - start, rel=0.05)
    apart = torch.stack([mine.increment(0.0, 3.1), mine.increment(3.1, 10.0)])
    assert abs(torch.corrcoef(apart)[0, 1].item()) < 0.03
