"""The noise that a model was trained with, step by step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .weights import FLOATS, Weights

#: what remains of the picture at the last step where nothing would, lest its noise be infinite
LAST_ALPHA = 4.8973451890853435e-08


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Betas whose roots rise evenly from `start` to `end`; all Stable Diffusion has these.

    `stored`: a file may hold a schedule of its own. `zero_terminal_snr`: it is spread until
    nothing of the picture is left at the last step.
    """

    start: float = 0.00085
    end: float = 0.012
    timesteps: int = 1000
    stored: bool = False
    zero_terminal_snr: bool = False


def alphas_cumprod(found: Schedule, weights: Weights) -> Tensor:
    """How much of the picture each step leaves [timesteps], float32, from the file or computed.

    A stored one that is not a falling sequence between 0 and 1 (merges add the tensors up) is
    computed too.
    """
    alphas = _stored(found, weights) if found.stored else None
    if alphas is None:
        roots = torch.linspace(
            found.start**0.5, found.end**0.5, found.timesteps, dtype=torch.float64
        )
        alphas = torch.cumprod(1 - roots**2, dim=0).float()
    return _spread(alphas) if found.zero_terminal_snr else alphas


def _stored(found: Schedule, weights: Weights) -> Tensor | None:
    entry = weights.header.tensors.get("alphas_cumprod")
    if entry is None or entry.shape != (found.timesteps,) or entry.dtype not in FLOATS:
        return None
    stored = weights.read("alphas_cumprod").float()
    falling = (stored > 0).all() and (stored < 1).all() and (stored.diff() <= 0).all()
    return stored if bool(falling) else None


def _spread(alphas: Tensor) -> Tensor:
    """Shift and scale the roots so that the last is 0: https://arxiv.org/abs/2305.08891, alg. 1."""
    roots = alphas.double().sqrt()
    spread = ((roots - roots[-1]) * (roots[0] / (roots[0] - roots[-1]))) ** 2
    spread[-1] = LAST_ALPHA
    return spread.float()
