"""One training loop for every part: seeded step by step, saved every few minutes, averaged."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import trange

from .resume import Keeper

Loss = Callable[[int, Random, torch.Generator], Tensor]
"""From the number of the step and its two streams of chance to the loss."""

SAVE_EVERY_S = 150.0

_RISE = 60
_FLOOR = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How many steps, at what rate, and how slowly the average follows."""

    steps: int
    rate: float
    steady_share: float = 0.0
    ema: float = 0.995

    def factor(self, step: int) -> float:
        """The rate's share at a step: a short rise, a steady stretch, half a cosine down."""
        factor = min(1.0, (step + 1) / _RISE)
        done = step / self.steps
        if done > self.steady_share:
            fall = (done - self.steady_share) / (1 - self.steady_share)
            factor *= _FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * fall))
        return factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Parameters that learn at their own share of the rate."""

    parameters: Sequence[nn.Parameter]
    share: float = 1.0


def train(
    name: str, parts: Sequence[Part], loss: Loss, pace: Pace, *, seed: int, folder: Path
) -> None:
    """Trains the parameters in place; taken up from `folder` if it was begun there.

    They end as their running average. Each step draws its chance from the seed and its own
    number, so that a run that was interrupted goes on as if it had not been.
    """
    parameters = [parameter for part in parts for parameter in part.parameters]
    optimiser = torch.optim.AdamW(
        [{"params": list(part.parameters), "share": part.share} for part in parts],
        lr=pace.rate,
        betas=(0.9, 0.99),
        weight_decay=0.0,
    )
    average = [parameter.detach().clone() for parameter in parameters]
    follow = get_ema_multi_avg_fn(pace.ema)  # type: ignore[no-untyped-call]
    folder.mkdir(parents=True, exist_ok=True)
    keeper = Keeper(folder / f"{name}.pt", every_seconds=SAVE_EVERY_S)
    begun = keeper.load()
    first = 0
    if begun is not None:
        first = begun["step"]
        _copy(begun["parameters"], parameters)
        _copy(begun["average"], average)
        optimiser.load_state_dict(begun["optimiser"])

    def state(step: int) -> dict[str, Any]:
        return {
            "step": step,
            "parameters": [parameter.detach() for parameter in parameters],
            "average": average,
            "optimiser": optimiser.state_dict(),
        }

    generator = torch.Generator()
    running = math.nan
    bar = trange(first, pace.steps, initial=first, total=pace.steps, desc=name, unit="step")
    for step in bar:
        for group in optimiser.param_groups:
            group["lr"] = pace.rate * group["share"] * pace.factor(step)
        generator.manual_seed(seed * 1_000_003 + step)
        value = loss(step, Random(f"{seed} {step}"), generator)
        optimiser.zero_grad()
        torch.autograd.backward(value)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        follow(average, parameters, None)
        running = value.item() if math.isnan(running) else 0.98 * running + 0.02 * value.item()
        bar.set_postfix(loss=f"{running:.4f}", refresh=False)
        keeper.offer(partial(state, step + 1))
    if first < pace.steps:
        keeper.write(state(pace.steps))
    _copy(average, parameters)


@torch.no_grad()
def _copy(source: Sequence[Tensor], target: Sequence[Tensor]) -> None:
    for one, other in zip(source, target, strict=True):
        other.copy_(one)
