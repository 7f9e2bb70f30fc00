"""Upscalers that need no weights, by the names of the wire; torch-free."""

from collections.abc import Mapping
from types import MappingProxyType

from PIL import Image

#: a latent upscaler's interpolation, and whether it is antialiased
LATENT_UPSCALERS: Mapping[str, tuple[str, bool]] = MappingProxyType(
    {
        "Latent": ("bilinear", False),
        "Latent (antialiased)": ("bilinear", True),
        "Latent (bicubic)": ("bicubic", False),
        "Latent (bicubic antialiased)": ("bicubic", True),
        "Latent (nearest)": ("nearest", False),
        "Latent (nearest-exact)": ("nearest-exact", False),
    }
)
#: an upscaler of decoded pixels; what is no whole multiple is fitted with Lanczos afterwards
PIXEL_UPSCALERS: Mapping[str, Image.Resampling] = MappingProxyType(
    {
        "None": Image.Resampling.LANCZOS,
        "Lanczos": Image.Resampling.LANCZOS,
        "Nearest": Image.Resampling.NEAREST,
    }
)
