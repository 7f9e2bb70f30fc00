"""The loop learns, keeps what it has learnt, and goes on as if it had never stopped."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import torch
from torch import Tensor, nn

from models.demo.train.loop import Pace, Part, train


def learn(folder: Path, *, steps: int, stop_at: int | None = None) -> Tensor:
    """Fits a line to noisy points; `stop_at` fails at that step, as a machine that goes off."""
    torch.manual_seed(0)
    line = nn.Linear(1, 1)

    def loss(step: int, random: Random, generator: torch.Generator) -> Tensor:
        if step == stop_at:
            raise KeyboardInterrupt
        x = torch.rand(8, 1, generator=generator)
        error: Tensor = line(x) - (3 * x + random.uniform(0.9, 1.1))
        return error.square().mean()

    pace = Pace(steps=steps, rate=0.1, ema=0.9)
    slope, offset = line.parameters()
    parts = (Part(parameters=[slope]), Part(parameters=[offset], share=0.5))
    train("line", parts, loss, pace, seed=5, folder=folder)
    return torch.cat([slope[0], offset]).detach()


def test_it_learns(tmp_path: Path) -> None:
    found = learn(tmp_path, steps=400)
    assert torch.allclose(found, torch.tensor([3.0, 1.0]), atol=0.1)


def test_an_interrupted_run_ends_where_a_whole_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = learn(tmp_path / "a", steps=40)
    monkeypatch.setattr("models.demo.train.loop.SAVE_EVERY_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "b", steps=40, stop_at=25)
    assert torch.equal(learn(tmp_path / "b", steps=40), whole)


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    whole = learn(tmp_path, steps=30)
    assert torch.equal(learn(tmp_path, steps=30, stop_at=0), whole)


def test_the_rate_rises_stays_and_falls() -> None:
    pace = Pace(steps=1000, rate=1.0, steady_share=0.5)
    assert pace.factor(0) == pytest.approx(1 / 60)
    assert pace.factor(100) == pace.factor(500) == 1
    assert pace.factor(750) == pytest.approx(0.51, abs=0.01)
    assert pace.factor(999) == pytest.approx(0.02, abs=0.001)
