"""A painter that something is learnt beside, and the check that it was given back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from models.demo.train.latents import Normalisation
from models.demo.train.train_unet import Painter

PLAIN = Normalisation(mean=torch.zeros(4), deviation=torch.ones(4))


@contextmanager
def given_back(seed: int) -> Iterator[Painter]:
    """A fresh painter; fails if it leaves with other tensors than it came with."""
    torch.manual_seed(seed)
    painter = Painter()
    before = {name: value.clone() for name, value in painter.state_dict().items()}
    yield painter
    after = painter.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
