"""The UNet's upsampling as LDM checkpoints were trained and are sampled elsewhere."""

from collections.abc import Sequence

from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.functional import interpolate


class Upsample(nn.Module):
    """Double, convolve, then fit the skip connection's size.

    diffusers fits the size before it convolves. The pictures differ wherever a side of the latents
    is no multiple of 8, such as 560x912 pixels; the reference fits afterwards.
    """

    def __init__(self, conv: nn.Module) -> None:
        """Keep the convolution of diffusers' module, and so the name of its weights."""
        super().__init__()
        self.conv = conv

    def forward(self, hidden: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Upsample `hidden` [N,C,h,w] to [N,C,2h,2w], or to `output_size` where it is given."""
        doubled: Tensor = self.conv(interpolate(hidden, scale_factor=2.0, mode="nearest"))
        if output_size is None or tuple(doubled.shape[-2:]) == tuple(output_size):
            return doubled
        return interpolate(doubled, size=tuple(output_size), mode="nearest")


def replace_upsamplers(unet: UNet2DConditionModel) -> None:
    """Give every up block of a diffusers UNet the upsampling above."""
    for block in unet.up_blocks:
        if block.upsamplers is not None:
            block.upsamplers = nn.ModuleList(Upsample(each.conv) for each in block.upsamplers)
