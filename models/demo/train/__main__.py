"""`python -m models.demo.train --out FOLDER`: from nothing to the checkpoint and its sidecar."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import structlog
import torch

from . import convert, sidecar
from .captions import CaptionTokens
from .dataset import latent_set
from .train_unet import UnetRecipe, train_unet
from .train_vae import VaeRecipe, held_out_psnr, train_vae

log = structlog.get_logger()

FILE_NAME = "darkroom-demo.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that decides the result, but for the machine's arithmetic."""

    data_seed: int = 1
    pictures: int = 20_000
    unet: UnetRecipe = field(default_factory=UnetRecipe)
    vae: VaeRecipe = field(default_factory=VaeRecipe)


def build(out: Path, recipe: Recipe, *, decoder_judges: int = 64) -> Path:
    """Trains what is not yet trained in `out`, writes the file there and returns its path."""
    out.mkdir(parents=True, exist_ok=True)
    data = latent_set(recipe.data_seed, recipe.pictures, out / "latents.npy")
    painter = train_unet(data, CaptionTokens(), recipe.unet, out)
    vae = train_vae(data.normalisation, recipe.vae, out)
    psnr = held_out_psnr(vae.decoder, recipe.vae.seed, decoder_judges)
    log.info("decoder", held_out_psnr=round(psnr, 2))

    path = out / FILE_NAME
    metadata = {"title": "Darkroom demo", "license": "MIT", "recipe": json.dumps(asdict(recipe))}
    convert.save(path, convert.to_ldm(painter.unet, vae, painter.text), metadata)
    sidecar.write_sidecar(path)
    log.info("written", path=str(path), bytes=path.stat().st_size)
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line; everything that decides the result is in `Recipe`."""
    parser = argparse.ArgumentParser(prog="python -m models.demo.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="for all files; kept to resume")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default: 1)")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    build(given.out, Recipe())


if __name__ == "__main__":
    main()
