"""The whole way, in miniature: from nothing to the files, and on from where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from models.demo.train.__main__ import Recipe, build
from models.demo.train.loop import Pace
from models.demo.train.train_embedding import EmbeddingRecipe
from models.demo.train.train_inpainting import InpaintingRecipe
from models.demo.train.train_lora import LoraRecipe
from models.demo.train.train_unet import UnetRecipe
from models.demo.train.train_vae import VaeRecipe

FEW = Pace(steps=2, rate=1e-3, ema=0.5)
RECIPE = Recipe(
    pictures=16,
    large_pictures=2,
    unet=UnetRecipe(batch=2, pace=FEW, text_pace=FEW, text_batch=2),
    vae=VaeRecipe(batch=1, decoder=FEW, encoder=FEW),
    lora=LoraRecipe(batch=1, pace=FEW),
    embedding=EmbeddingRecipe(batch=1, pace=FEW),
    inpainting=InpaintingRecipe(batch=1, pace=FEW),
)
WRITTEN = {
    "darkroom-demo.safetensors",
    "darkroom-demo-inpainting.safetensors",
    "lora/darkroom-demo-polaroid.safetensors",
    "embeddings/demo-valentine.safetensors",
}


@pytest.mark.slow
def test_it_is_built_and_taken_up_again(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    path = build(tmp_path, RECIPE, judged=2)
    first = {name: load_file(tmp_path / name) for name in WRITTEN}
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["recipe"])["unet"]["pace"]["steps"] == 2
    found = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.safetensors")}
    assert found == WRITTEN
    assert path.stat().st_size < 20_000_000
    assert all((tmp_path / name).stat().st_size < 1_000_000 for name in WRITTEN if "/" in name)
    for name in WRITTEN:
        (tmp_path / name).unlink()
    build(tmp_path, RECIPE, judged=2)
    for name, tensors in first.items():
        again = load_file(tmp_path / name)
        assert again.keys() == tensors.keys()
        assert all(torch.equal(again[key], value) for key, value in tensors.items())
