"""The variant begins as the model that it comes from, and its masks are what a server sends."""

from __future__ import annotations

from random import Random

import torch

from models.demo.train import networks
from models.demo.train.train_inpainting import IN_CHANNELS, mask, masked, widened


def test_it_begins_as_the_painter_s_unet() -> None:
    torch.manual_seed(5)
    unet = networks.unet().eval()
    wide = widened(unet).eval()
    noisy, context = torch.randn(1, 4, 16, 16), torch.randn(1, 77, 40)
    more = torch.randn(1, IN_CHANNELS - 4, 16, 16)
    with torch.inference_mode():
        expected = unet(noisy, 500, context, return_dict=False)[0]
        found = wide(torch.cat([noisy, more], 1), 500, context, return_dict=False)[0]
    assert torch.allclose(found, expected, atol=1e-5)
    assert all(parameter.requires_grad for parameter in wide.parameters())


def test_masks_are_rectangles_on_the_grid_or_everything() -> None:
    random = Random(6)
    shares = []
    for _ in range(200):
        one = mask(random)
        assert one.shape == (1, 128, 128)
        cells = one.view(16, 8, 16, 8)
        assert bool((cells.amin((1, 3)) == cells.amax((1, 3))).all())
        shares.append(float(one.mean()))
    assert 10 < shares.count(1.0) < 60
    assert all(1 / 16 <= share <= (14 / 16) ** 2 for share in shares if share < 1)


def test_what_is_masked_is_grey() -> None:
    drawn = torch.rand(2, 3, 128, 128) * 2 - 1
    masks = torch.stack([mask(Random(7)), torch.ones(1, 128, 128)])
    left = masked(drawn, masks)
    assert torch.equal(left[1], torch.zeros(3, 128, 128))
    kept = (masks[0] == 0).expand(3, -1, -1)
    assert torch.equal(left[0][kept], drawn[0][kept])
    assert not left[0][~kept].any()
