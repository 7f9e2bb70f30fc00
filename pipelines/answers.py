"""The steps of several jobs answered together: what the device does in a turn.

Each answer may be an error, which is its job's alone.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import NansException

from .apart import answered, whole
from .approx import decode
from .conditioning import encode_together
from .forward import Gauge, predict_rows
from .pixels import to_bytes
from .remembered import Remembered
from .steps import Conditioning, Decode, Encode, Predict

if TYPE_CHECKING:
    from models.approx import ApproxVaes
    from models.families.base import Checkpoint


def predictions(
    checkpoint: "Checkpoint", steps: Sequence[Predict], gauge: Gauge
) -> list[list[Tensor] | Exception]:
    """The raw output for each row of each step."""
    answers = iter(predict_rows(checkpoint, [row for step in steps for row in step.rows], gauge))
    return [whole(list(islice(answers, len(step.rows)))) for step in steps]


def conditionings(
    checkpoint: "Checkpoint", model: Hashable, steps: Sequence[Encode], known: Remembered
) -> list[Conditioning | Exception]:
    """The conditioning of each step's texts; what is `known` of this model is not made again."""
    found = [known.find(model, step) for step in steps]
    missing = [step for step, told in zip(steps, found, strict=True) if told is None]
    made = answered(lambda some: encode_together(checkpoint, some), missing, checkpoint.device)
    for step, told in zip(missing, made, strict=True):
        if isinstance(told, Conditioning):
            known.keep(model, step, told)
    rest = iter(made)
    return [next(rest) if told is None else told for told in found]


def pictures(
    checkpoint: "Checkpoint", steps: Sequence[Decode], approx: "ApproxVaes"
) -> list[NDArray[np.uint8] | Exception]:
    """The pictures of each step's latents, uint8 [N,H,W,3]; equal sizes are decoded together."""

    def decoded(some: Sequence[Decode]) -> list[NDArray[np.uint8]]:
        latents = torch.cat([step.latents for step in some])
        if not bool(torch.isfinite(latents).all()):
            raise NansException("UNet", checkpoint.info.name)
        pixels = to_bytes(decode(checkpoint, latents, some[0].method, approx))
        ends = np.cumsum([len(step.latents) for step in some])
        return np.split(pixels, ends[:-1])

    found: dict[Decode, NDArray[np.uint8] | Exception] = {}
    for group in _alike(steps):
        found |= zip(group, answered(decoded, group, checkpoint.device), strict=True)
    return [found[step] for step in steps]


def _alike(steps: Sequence[Decode]) -> Iterator[list[Decode]]:
    groups: dict[Hashable, list[Decode]] = defaultdict(list)
    for step in steps:
        groups[step.latents.shape[1:], step.method].append(step)
    yield from groups.values()
