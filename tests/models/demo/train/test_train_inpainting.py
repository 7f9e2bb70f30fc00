"""The variant begins as the model that it comes from."""

from __future__ import annotations

import torch

from models.demo.train import networks
from models.demo.train.train_inpainting import IN_CHANNELS, widened


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
