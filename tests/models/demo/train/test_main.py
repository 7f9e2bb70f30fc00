"""The whole way, in miniature: from nothing to a file, and on from where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from models.demo.train.__main__ import Recipe, build
from models.demo.train.train_unet import UnetRecipe
from models.demo.train.train_vae import VaeRecipe

RECIPE = Recipe(
    pictures=16,
    unet=UnetRecipe(steps=2, batch=2, text_steps=2, text_batch=2),
    vae=VaeRecipe(batch=1, decoder_steps=2, encoder_steps=1),
)


@pytest.mark.slow
def test_it_is_built_and_taken_up_again(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    path = build(tmp_path, RECIPE, decoder_judges=2)
    assert path.stat().st_size < 20_000_000
    first = load_file(path)
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["recipe"])["unet"]["steps"] == 2
    assert {entry.name for entry in tmp_path.iterdir()} == {
        "darkroom-demo.safetensors",
        "darkroom-demo.yaml",
        "text-encoder",
        "latents.npy",
        "unet.pt",
        "decoder.pt",
        "encoder.pt",
    }
    path.unlink()
    again = load_file(build(tmp_path, RECIPE, decoder_judges=2))
    assert again.keys() == first.keys()
    assert all(torch.equal(again[name], value) for name, value in first.items())
