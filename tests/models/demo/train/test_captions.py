"""Token rows are framed and stressed as the server frames and stresses a prompt."""

from __future__ import annotations

import torch

from models.demo.train import networks
from models.demo.train.captions import CaptionTokens, conditioning
from models.demo.world.caption import Caption


def test_words_are_between_bos_and_eos_to_the_end() -> None:
    texts = ("a red circle on a blue background", "")
    rows = CaptionTokens()([Caption.plain(text) for text in texts])
    row, empty = rows.ids.tolist()
    assert row[:9] == [49406, 320, 736, 7117, 525, 320, 1746, 5994, 49407]
    assert len(row) == 77
    assert set(row[8:]) == {49407}
    assert empty == [49406, *[49407] * 76]
    assert torch.equal(rows.weights, torch.ones(2, 77))


def test_a_long_caption_is_cut_to_75_words() -> None:
    row = CaptionTokens()([Caption.plain("red " * 200)]).ids[0].tolist()
    assert row == [49406, *[736] * 75, 49407]


def test_a_weight_is_its_words_alone() -> None:
    stressed = Caption(parts=(("a ", 1.0), ("red circle", 1.4), (", blue background", 1.0)))
    plain = Caption.plain("a red circle, blue background")
    first, second = CaptionTokens()([stressed]), CaptionTokens()([plain])
    assert torch.equal(first.ids, second.ids)
    weights = first.weights[0]
    assert torch.equal(weights[2:4], torch.tensor([1.4, 1.4]))
    assert weights.sum() == 75 + 2.8


def test_stress_keeps_the_mean_as_webui_does() -> None:
    torch.manual_seed(0)
    encoder = networks.text_encoder().train(False)
    tokens = CaptionTokens()
    stressed = tokens([Caption(parts=(("a ", 1.0), ("circle", 2.0)))])
    plain = tokens([Caption.plain("a circle")])
    with torch.inference_mode():
        strong, usual = conditioning(encoder, stressed), conditioning(encoder, plain)
    assert torch.allclose(strong.mean(), usual.mean(), atol=1e-5)
    ratio = strong[0] / usual[0]
    assert torch.allclose(ratio[2], 2 * ratio[5], atol=1e-3)
    assert usual.mean() > 0.3
