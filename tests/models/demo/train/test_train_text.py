"""The warm-up makes the padding tell what the caption states, in either language."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from models.demo.train import networks
from models.demo.train.captions import CaptionTokens
from models.demo.train.loop import Pace
from models.demo.train.train_text import UNSAID, fact_loss, targets, warm_up
from models.demo.world.caption import Caption
from models.demo.world.words import FACTS


def test_targets_are_the_stated_values() -> None:
    caption = Caption.plain("a red star", shape="star", colour="red")
    (row,) = targets([caption]).tolist()
    stated = dict(zip(FACTS, row, strict=True))
    assert stated.pop("shape") == 3
    assert stated.pop("colour") == 0
    assert set(stated.values()) == {UNSAID}


def test_what_is_unsaid_costs_nothing() -> None:
    wanted = torch.full((2, len(FACTS)), UNSAID)
    wanted[0, 1] = 2
    logits = [torch.zeros(2, len(values)) for values in FACTS.values()]
    assert math.isclose(float(fact_loss(logits, wanted)), math.log(10), rel_tol=1e-5)
    logits[1][0, 2] = 30
    assert float(fact_loss(logits, wanted)) < 1e-5


def test_it_changes_the_encoder(tmp_path: Path) -> None:
    torch.manual_seed(1)
    encoder = networks.text_encoder()
    before = encoder.state_dict()["final_layer_norm.bias"].clone()
    pace = Pace(steps=3, rate=1e-2, ema=0.5)
    warm_up(encoder, CaptionTokens(), pace, batch=4, seed=2, folder=tmp_path)
    assert not torch.equal(encoder.state_dict()["final_layer_norm.bias"], before)
