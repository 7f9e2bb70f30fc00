"""Samplers run against a Gaussian's exact denoiser, whose ODE and SDE have closed forms."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pipelines.noise import BatchNoise
from pipelines.samplers import find_sampler

from ..toy import Gaussian, Script, drive, seeds, spec

DATA = Gaussian()
START = torch.tensor([-9.0, -2.0, 0.7, 1.0, 5.0, 12.0], dtype=torch.float64).reshape(1, 6, 1, 1)


def log_spaced(high: float, low: float, n: int) -> list[float]:
    return [high * (low / high) ** (i / (n - 1)) for i in range(n)]


def ran(
    name: str,
    sigmas: Sequence[float],
    noise: Any = None,
    start: Tensor = START,
    **numbers: Any,
) -> tuple[Tensor, list[float]]:
    """The latents that a sampler ends with, and the sigmas that it asked about."""
    chosen = find_sampler(name).function
    script = noise or Script()
    numbers = {"steps": len(sigmas) - 1, **numbers}
    return drive(chosen(start, sigmas, script, spec(name, **numbers)), DATA.denoised)


def end_of(name: str, sigmas: Sequence[float], noise: Any = None, **numbers: Any) -> Tensor:
    return ran(name, sigmas, noise, **numbers)[0]


def exact_end(name: str, start: float, end: float) -> Tensor:
    """Where the ODE ends, in the scale in which the sampler gives it back."""
    moved = DATA.moved(START, start, end)
    return moved / math.hypot(1, end) if find_sampler(name).on_timesteps else moved


def error_of(name: str, steps: int, high: float = 10.0, low: float = 0.1, **numbers: Any) -> float:
    """How far a sampler without noise ends from the ODE, after so many even steps in log sigma."""
    sigmas = log_spaced(high, low, steps + 1)
    # a sampler with steps of its own stops before a last sigma of 0
    given = [*sigmas, 0.0] if find_sampler(name).own_steps else sigmas
    away = end_of(name, given, steps=steps, **numbers) - exact_end(name, high, low)
    return float(away.abs().max())


def spread_of(name: str, sigmas: Sequence[float], **numbers: float) -> tuple[float, float]:
    """Mean and standard deviation of 16384 numbers that started as the noised data."""
    generator = torch.Generator().manual_seed(7)
    size = (4, 64, 64)
    start = DATA.mean + DATA.deviation(sigmas[0]) * torch.randn((1, *size), generator=generator)
    noise = BatchNoise(seeds(3), size, torch.device("cpu"), sigmas)
    end, _ = ran(name, sigmas, noise, start, **numbers)
    return float(end.mean()), float(end.std())
