"""From a model's raw output to noise-free latents, in Karras et al.'s preconditioning."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .schedules import SigmaTable
from .steps import Conditioning, Row

#: a latent consistency model's standard deviation of the data, and its scale of time
_SIGMA_DATA = 0.5
_TIME_SCALE = 10.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Denoiser:
    """How to ask a model that predicts noise or v, and how to read its answer.

    `consistency` reads it as a latent consistency model (https://arxiv.org/abs/2310.04378), which
    mixes its answer with its input by the time step.
    """

    table: SigmaTable
    prediction: Literal["epsilon", "v"]
    consistency: bool = False

    def row(self, x: Tensor, sigma: float, told: Conditioning, shown: Tensor | None = None) -> Row:
        """The model's input for latents `x` at `sigma`, with what it is `shown` beside them."""
        scaled = x / math.sqrt(sigma**2 + 1)
        if shown is not None:
            scaled = torch.cat([scaled, shown.to(scaled)], dim=1)
        return Row(scaled, self.table.timestep(sigma), told)

    def denoised(self, x: Tensor, sigma: float, output: Tensor) -> Tensor:
        """The noise-free latents that the raw `output` means."""
        if self.consistency:
            time = self.table.timestep(sigma) * _TIME_SCALE
            total = time**2 + _SIGMA_DATA**2
            return (x - output * sigma) * (time / math.sqrt(total)) + x * (_SIGMA_DATA**2 / total)
        if self.prediction == "v":
            return x / (sigma**2 + 1) - output * (sigma / math.sqrt(sigma**2 + 1))
        return x - output * sigma
