"""Guidance: from a sampler's wishes to rows of the model, and back to one latent."""

import math
from collections.abc import Generator, Sequence
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from pipelines.guidance import Denoiser, Guidance, Stopped, guided
from pipelines.steps import Denoise, Predict, Sampling
from pipelines.watch import Watch

from .toy import Gaussian, finish, sd1_table

TABLE = sd1_table()
X = torch.linspace(-3, 3, 16).reshape(1, 4, 2, 2)
COND, UNCOND = torch.full((1, 77, 3), 2.0), torch.full((1, 154, 3), -1.0)


def denoiser(prediction: Literal["epsilon", "v"] = "epsilon") -> Denoiser:
    return Denoiser(table=TABLE, prediction=prediction)


def steps(*sigmas: float) -> Sampling:
    """A sampler that asks about X and returns the sum of all answers."""
    total = torch.zeros_like(X)
    for sigma in sigmas:
        total = total + (yield Denoise(X, sigma))
    return total


def guide(
    scale: float, *sigmas: float, watch: Watch | None = None, order: int = 1
) -> Generator[Predict, Any, Tensor]:
    guidance = Guidance(cond=COND, uncond=UNCOND, scale=scale)
    watching = watch or Watch(batch_count=1, steps=9)
    return guided(steps(*sigmas), guidance, denoiser(), watching, order=order)


def by_context(step: Any) -> tuple[Tensor, ...]:
    """A model whose noise is all its context's number."""
    return tuple(row.x * 0 + row.context[0, 0, 0] for row in step.rows)


def test_a_row_is_scaled_to_unit_variance_at_the_sigma_s_time_step() -> None:
    row = denoiser().row(X, 3.0, COND)
    torch.testing.assert_close(row.x, X / math.sqrt(10))
    assert row.timestep == pytest.approx(TABLE.timestep(3.0))
    assert row.context is COND


@pytest.mark.parametrize("sigma", [0.05, 1.0, 14.0])
def test_epsilon_is_taken_off(sigma: float) -> None:
    data, noise = X + 1, X * 0.3
    noised = data + sigma * noise
    torch.testing.assert_close(denoiser().denoised(noised, sigma, noise), data)


@pytest.mark.parametrize("sigma", [0.05, 1.0, 14.0])
def test_v_is_turned_back(sigma: float) -> None:
    data, noise = X + 1, X * 0.3
    alpha, spread = 1 / math.hypot(1, sigma), sigma / math.hypot(1, sigma)
    velocity = alpha * noise - spread * data
    noised = data + sigma * noise
    found = denoiser("v").denoised(noised, sigma, velocity)
    torch.testing.assert_close(found, data, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 3.5, 7.0, 15.0, -1.0])
def test_guidance_goes_from_uncond_past_cond(scale: float) -> None:
    found = finish(guide(scale, 0.5), by_context)
    cond, uncond = X - 0.5 * 2.0, X - 0.5 * -1.0
    torch.testing.assert_close(found, uncond + scale * (cond - uncond))


def test_both_parts_are_asked_for_at_once_and_in_order() -> None:
    asked: list[Any] = []

    def answers(step: Any) -> tuple[Tensor, ...]:
        asked.append(step)
        return by_context(step)

    finish(guide(2.0, 5.0, 1.0), answers)
    assert [[row.context is COND for row in step.rows] for step in asked] == [[True, False]] * 2
    assert [row.timestep for row in asked[0].rows] == pytest.approx([TABLE.timestep(5.0)] * 2)


def test_at_scale_1_the_negative_prompt_is_not_asked_for() -> None:
    asked: list[int] = []

    def answers(step: Any) -> tuple[Tensor, ...]:
        asked.append(len(step.rows))
        return by_context(step)

    torch.testing.assert_close(finish(guide(1.0, 0.5), answers), X - 0.5 * 2.0)
    assert asked == [1]


@pytest.mark.parametrize(
    ("order", "calls", "expected"),
    [(1, 3, [1, 2, 3]), (2, 5, [1, 1, 2, 2, 3])],
)
def test_the_watch_counts_steps_not_calls(order: int, calls: int, expected: Sequence[int]) -> None:
    watch, seen = Watch(batch_count=1, steps=9), []
    sampling = guide(2.0, *[1.0] * calls, watch=watch, order=order)
    step = next(sampling)
    with pytest.raises(StopIteration):
        for _ in range(calls):
            seen.append(watch.progress().step)
            step = sampling.send(by_context(step))
    assert [*seen[1:], watch.progress().step] == expected


def test_the_watch_holds_the_newest_guided_denoised() -> None:
    watch = Watch(batch_count=1, steps=9)
    sampling = guide(3.0, 0.5, 0.25, watch=watch)
    sampling.send(by_context(next(sampling)))
    cond, uncond = X - 0.5 * 2.0, X + 0.5
    torch.testing.assert_close(watch.denoised, uncond + 3 * (cond - uncond))


@pytest.mark.parametrize("how", ["interrupt", "skip"])
def test_a_stop_is_heeded_before_the_next_call(how: str) -> None:
    watch = Watch(batch_count=1, steps=9)
    sampling = guide(2.0, 4.0, 2.0, 1.0, watch=watch)
    step = next(sampling)
    step = sampling.send(by_context(step))
    getattr(watch, how)()
    with pytest.raises(Stopped):
        sampling.send(by_context(step))
    assert watch.progress().step == 2


def test_a_stop_before_the_first_call_asks_for_nothing() -> None:
    watch = Watch(batch_count=1, steps=9)
    watch.interrupt()
    with pytest.raises(Stopped):
        next(guide(2.0, 4.0, watch=watch))
    assert watch.denoised is None


def test_a_stop_after_the_last_call_changes_nothing() -> None:
    watch = Watch(batch_count=1, steps=9)
    sampling = guide(1.0, 0.5, watch=watch)
    step = next(sampling)
    watch.interrupt()
    with pytest.raises(StopIteration) as end:
        sampling.send(by_context(step))
    torch.testing.assert_close(end.value.value, X - 1.0)


def test_a_sampler_without_steps_returns_at_once() -> None:
    with pytest.raises(StopIteration) as end:
        next(guide(2.0))
    assert torch.equal(end.value.value, torch.zeros_like(X))


def test_an_exact_model_gives_the_exact_denoised() -> None:
    data = Gaussian()

    def model(step: Any) -> tuple[Tensor, ...]:
        return tuple((row.x * math.hypot(1, 2.0) - X_0) / 2.0 for row in step.rows)

    X_0 = data.denoised(X, 2.0)  # noqa: N806  # the paper's letter
    torch.testing.assert_close(finish(guide(7.0, 2.0), model), X_0, atol=1e-5, rtol=1e-5)
