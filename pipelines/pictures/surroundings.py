"""Filling a masked area with the colours around it."""

from PIL import Image, ImageFilter, ImageOps

#: blurs of what is not masked, in pixels, and how often each is laid over those before it
_BLURS = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))


def filled(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The picture (RGB) with its masked part grown over by blurs of the rest, the widest first.

    `mask` has the picture's size; what it covers by half keeps half.
    """
    kept = without(image, mask)
    ground = Image.new("RGBA", image.size)
    for radius, repeats in _BLURS:
        layer = kept.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(repeats):
            ground.alpha_composite(layer)
    return ground.convert("RGB")


def without(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The picture with a hole where `mask` (same size) is white; premultiplied, mode "RGBa"."""
    rest = Image.new("RGBa", image.size)
    solid = image.convert("RGBA").convert("RGBa")
    rest.paste(solid, mask=ImageOps.invert(mask.convert("L")))
    return rest
