"""What inpainting hides: rectangles on the grid of latents, or everything."""

from __future__ import annotations

from random import Random

import torch

from models.demo.train.masks import mask, masked


def test_masks_are_rectangles_on_the_grid_or_everything() -> None:
    random = Random(6)
    shares = []
    for _ in range(200):
        one = mask(random, 128)
        assert one.shape == (1, 128, 128)
        cells = one.view(16, 8, 16, 8)
        assert bool((cells.amin((1, 3)) == cells.amax((1, 3))).all())
        shares.append(float(one.mean()))
    assert 10 < shares.count(1.0) < 60
    assert all(1 / 16 <= share <= (14 / 16) ** 2 for share in shares if share < 1)


def test_what_is_masked_is_grey() -> None:
    drawn = torch.rand(2, 3, 128, 128) * 2 - 1
    masks = torch.stack([mask(Random(7), 128), torch.ones(1, 128, 128)])
    left = masked(drawn, masks)
    assert torch.equal(left[1], torch.zeros(3, 128, 128))
    kept = (masks[0] == 0).expand(3, -1, -1)
    assert torch.equal(left[0][kept], drawn[0][kept])
    assert not left[0][~kept].any()
