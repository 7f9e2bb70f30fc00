"""The training set: scenes from a seed, and their analytic latents kept in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor
from tqdm import trange

from ..world import sampling
from ..world.caption import Scene
from .latents import Normalisation, analytic_latents
from .networks import PICTURE_SIZE

_BATCH = 250


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LatentSet:
    """Normalised latents [N, 4, h, w] float32 and the scene that each shows."""

    latents: Tensor
    scenes: tuple[Scene, ...]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TrainingSet:
    """Many pictures of the native size and a few of twice its side, normalised alike."""

    native: LatentSet
    large: LatentSet
    normalisation: Normalisation


def scenes(seed: int, count: int) -> list[Scene]:
    """`count` random scenes of the training; the same seed gives the same scenes."""
    random = Random(seed)
    return [sampling.sample(random) for _ in range(count)]


def held_out_scenes(seed: int, count: int) -> list[Scene]:
    """`count` random scenes that the training never shows."""
    random = Random(seed)
    return [sampling.sample_held_out(random) for _ in range(count)]


def pictures(batch: Sequence[Scene], size: int = PICTURE_SIZE) -> Tensor:
    """The scenes drawn, float32 [N, 3, size, size] in [-1, 1]."""
    pixels = np.stack([scene.draw(size) for scene in batch])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def latents_of(batch: Sequence[Scene], normalisation: Normalisation) -> Tensor:
    """The normalised latents of scenes of the native size, float32 [N, 4, 16, 16]."""
    return normalisation.apply(analytic_latents(pictures(batch)))


def training_set(seed: int, count: int, large: int, folder: Path) -> TrainingSet:
    """The training set of this seed; what `folder` already holds of it is not drawn again."""
    native, more = scenes(seed, count), scenes(seed + 1, large)
    raw = _latents(native, PICTURE_SIZE, folder / "latents.npy")
    raw_large = _latents(more, 2 * PICTURE_SIZE, folder / "latents-large.npy")
    normalisation = Normalisation.of(raw)
    return TrainingSet(
        native=LatentSet(latents=normalisation.apply(raw), scenes=tuple(native)),
        large=LatentSet(latents=normalisation.apply(raw_large), scenes=tuple(more)),
        normalisation=normalisation,
    )


def _latents(batch: Sequence[Scene], size: int, kept: Path) -> Tensor:
    if kept.is_file():
        return torch.from_numpy(np.load(kept))
    parts = [
        analytic_latents(pictures(batch[start : start + _BATCH], size))
        for start in trange(0, len(batch), _BATCH, desc=f"drawing at {size}", unit="batch")
    ]
    raw = torch.cat(parts)
    np.save(kept, raw.numpy())
    return raw
