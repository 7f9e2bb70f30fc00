"""The training set: scenes from a seed, and their analytic latents kept in a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor
from tqdm import trange

from ..pictures import Scene, Subject, draw, sample
from .latents import Normalisation, analytic_latents
from .networks import PICTURE_SIZE


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LatentSet:
    """Normalised latents [N, 4, 16, 16] float32, what each shows, and how they were normalised."""

    latents: Tensor
    subjects: tuple[Subject, ...]
    normalisation: Normalisation


def scenes(seed: int, count: int, *, held_out: bool = False) -> list[Scene]:
    """`count` random scenes; the same seed gives the same scenes."""
    random = Random(seed)
    return [sample(random, held_out=held_out) for _ in range(count)]


def pictures(batch: list[Scene], size: int = PICTURE_SIZE) -> Tensor:
    """The scenes drawn, float32 [N, 3, size, size] in [-1, 1]."""
    pixels = np.stack([draw(scene, size) for scene in batch])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def latent_set(seed: int, count: int, cache: Path) -> LatentSet:
    """The training set of this seed; drawing it is skipped when `cache` holds its latents."""
    batch = scenes(seed, count)
    if cache.is_file():
        raw = torch.from_numpy(np.load(cache))
    else:
        parts = [
            analytic_latents(pictures(batch[start : start + 250]))
            for start in trange(0, count, 250, desc="drawing", unit="batch")
        ]
        raw = torch.cat(parts)
        np.save(cache, raw.numpy())
    normalisation = Normalisation.of(raw)
    return LatentSet(
        latents=normalisation.apply(raw),
        subjects=tuple(scene.subject for scene in batch),
        normalisation=normalisation,
    )
