"""`python -m models.demo.train --out FOLDER`: from nothing to the demo's files.

These are the checkpoint, its variant for inpainting, a LoRA and a textual inversion. Every part is
taken up from `FOLDER` where it was left.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import structlog
import torch
from torch import Tensor

from .. import DEMO_CHECKPOINT, EMBEDDING, INPAINTING_CHECKPOINT, LORA
from . import convert, sidecar
from .captions import CaptionTokens
from .dataset import training_set
from .train_embedding import EmbeddingRecipe, train_embedding
from .train_inpainting import IN_CHANNELS, InpaintingRecipe, train_inpainting
from .train_lora import LoraRecipe, train_lora
from .train_unet import UnetRecipe, train_unet
from .train_vae import VaeRecipe, fidelity, train_vae

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that decides the result, but for the machine's arithmetic."""

    data_seed: int = 1
    pictures: int = 30_000
    large_pictures: int = 2_500
    unet: UnetRecipe = field(default_factory=UnetRecipe)
    vae: VaeRecipe = field(default_factory=VaeRecipe)
    lora: LoraRecipe = field(default_factory=LoraRecipe)
    embedding: EmbeddingRecipe = field(default_factory=EmbeddingRecipe)
    inpainting: InpaintingRecipe = field(default_factory=InpaintingRecipe)


def build(out: Path, recipe: Recipe, *, judged: int = 64) -> Path:
    """Trains what is not yet trained in `out`, writes the files there; returns the checkpoint's.

    The autoencoder's fidelity is logged, over `judged` held-out pictures.
    """
    out.mkdir(parents=True, exist_ok=True)
    tokens = CaptionTokens()
    data = training_set(recipe.data_seed, recipe.pictures, recipe.large_pictures, out)
    norm = data.normalisation
    vae = train_vae(norm, recipe.vae, out)
    log.info("autoencoder", **asdict(fidelity(vae, recipe.vae.seed, judged)))
    painter = train_unet(data, tokens, recipe.unet, out)
    metadata = {"title": "Darkroom demo", "license": "MIT", "recipe": json.dumps(asdict(recipe))}

    path = out / DEMO_CHECKPOINT.name
    convert.save(path, convert.to_ldm(painter.unet, vae, painter.text), metadata)
    sidecar.write_sidecar(path)
    network = train_lora(painter, norm, tokens, recipe.lora, out)
    _save(out / LORA.parent.name / LORA.name, network, metadata)
    vectors = train_embedding(painter, norm, tokens, recipe.embedding, out)
    word = {"emb_params": vectors.half()}
    _save(out / EMBEDDING.parent.name / EMBEDDING.name, word, metadata)
    inpainting = train_inpainting(painter, norm, tokens, recipe.inpainting, out)
    variant = out / INPAINTING_CHECKPOINT.name
    convert.save(variant, convert.to_ldm(inpainting, vae, painter.text), metadata)
    sidecar.write_sidecar(variant, in_channels=IN_CHANNELS)
    for written in (path, variant):
        log.info("written", path=str(written), bytes=written.stat().st_size)
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line; everything that decides the result is in `Recipe`."""
    parser = argparse.ArgumentParser(prog="python -m models.demo.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="for all files; kept to resume")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default: 1)")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    build(given.out, Recipe())


def _save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    path.parent.mkdir(exist_ok=True)
    convert.save(path, tensors, metadata)


if __name__ == "__main__":
    main()
