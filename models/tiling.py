"""Pictures that tile: convolutions that wrap around at the borders."""

from torch import nn


def set_tiling(module: nn.Module, tiling: bool) -> None:
    """Make every convolution of `module` see the opposite border beyond its own, or zeros again."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            layer.padding_mode = "circular" if tiling else "zeros"
