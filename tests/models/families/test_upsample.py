import torch
from torch import nn
from torch.nn.functional import interpolate

from models.families.upsample import Upsample

from .variants import reference


def made() -> Upsample:
    torch.manual_seed(0)
    return Upsample(nn.Conv2d(2, 2, 3, padding=1)).requires_grad_(False)


def test_without_a_size_it_doubles_and_convolves() -> None:
    upsample, hidden = made(), torch.rand(1, 2, 4, 5)
    expected = upsample.conv(hidden.repeat_interleave(2, -1).repeat_interleave(2, -2))
    assert torch.equal(upsample(hidden), expected)
    assert torch.equal(upsample(hidden, torch.Size([8, 10])), expected)


def test_the_size_is_fitted_after_the_convolution() -> None:
    upsample, hidden = made(), torch.rand(1, 2, 4, 5)
    fitted = upsample(hidden, torch.Size([7, 9]))
    assert fitted.shape == (1, 2, 7, 9)
    assert torch.equal(fitted, interpolate(upsample(hidden), size=(7, 9), mode="nearest"))
    before = upsample.conv(interpolate(hidden, size=(7, 9), mode="nearest"))
    assert not torch.allclose(fitted, before)


def test_every_upsampler_of_a_loaded_unet_is_this_one() -> None:
    unet = reference("tiny-vpred").unet
    kinds = [[type(each) for each in block.upsamplers or ()] for block in unet.up_blocks]
    assert kinds == [[Upsample], [Upsample], [Upsample], []]
    context, x = torch.zeros(1, 77, 16), torch.rand(1, 4, 9, 14)
    assert unet(x, 1, context, return_dict=False)[0].shape == (1, 4, 9, 14)
