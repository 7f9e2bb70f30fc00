"""The LoRA is written as kohya writes one, and the painter is given back as it was."""

from __future__ import annotations

from pathlib import Path

import torch

from models.demo.train.captions import CaptionTokens
from models.demo.train.loop import Pace
from models.demo.train.train_lora import LoraRecipe, LowRank, train_lora

from .painters import PLAIN, given_back


def test_a_change_starts_as_none_and_keeps_the_shape() -> None:
    weight = torch.randn(6, 3, 3, 3)
    change = LowRank(weight, rank=2)
    assert torch.equal(change(weight), weight)
    with torch.no_grad():
        change.up.fill_(1)
    added = (change(weight) - weight).view(6, -1)
    assert int(torch.linalg.matrix_rank(added)) == 1
    assert torch.allclose(added[0], change.down.sum(0), atol=1e-5)


def test_the_painter_is_given_back_and_the_tensors_are_kohya_s(tmp_path: Path) -> None:
    recipe = LoraRecipe(batch=2, pace=Pace(steps=2, rate=0.1, ema=0.5))
    with given_back(seed=3) as painter:
        tensors = train_lora(painter, PLAIN, CaptionTokens(), recipe, tmp_path)

    key = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    assert tensors[f"{key}.lora_down.weight"].shape == (4, 40)
    assert tensors[f"{key}.lora_up.weight"].shape == (64, 4)
    conv = "lora_unet_mid_block_resnets_0_conv1"
    assert tensors[f"{conv}.lora_down.weight"].shape == (4, 128, 3, 3)
    assert tensors[f"{conv}.lora_up.weight"].shape == (128, 4, 1, 1)
    assert tensors[f"{conv}.alpha"] == 4
    assert tensors[f"{conv}.lora_up.weight"].abs().max() > 0
    assert sum(value.numel() * value.element_size() for value in tensors.values()) < 1_000_000
