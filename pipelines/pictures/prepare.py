"""Init pictures and a mask, as a client sends them, made ready for the device."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageColor

from . import colors, mask
from .errors import BadPicture
from .prepared import Box, Fitting, Inpainting, LatentFill, MaskUse, Prepared
from .resize import FILL, LATENT, check_cover, resized, stretched
from .surroundings import filled

_AS_IT_IS = 1
_SMALLEST = 16
"""Pixels of a side that the device can encode."""

_LATENT_FILLS: Mapping[int, LatentFill] = MappingProxyType({2: "noise", 3: "nothing"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Area:
    """A mask brought to the wanted size, the one that covers results, and the box it was cut to.

    `filled` says what of the picture is filled and which latents are drawn: `drawn`, or a mask of
    its own.
    """

    drawn: Image.Image
    filled: Image.Image
    cover: Image.Image
    box: Box | None


def prepare(
    images: Sequence[Image.Image],
    fitting: Fitting,
    mask_picture: Image.Image | None = None,
    use: MaskUse | None = None,
    latent_mask: Image.Image | None = None,
) -> Prepared:
    """`images` (one or more, any mode) fitted, with the masked part cut out and filled.

    A `latent_mask` takes the mask's place in what is filled and which latents are drawn; the mask
    still says where results are seen.

    A mask that is all black leaves nothing to be drawn by itself: with `only_masked` it is as if
    there were none.

    Raises:
        BadPicture: a background that is no colour, a picture far too narrow to cover the wanted
            size, or pictures that are to be taken as they are and are tiny or of different sizes.
    """
    use = use or MaskUse()
    use = replace(use, round=use.round and use.soft is None)
    area = None if mask_picture is None else _area(mask_picture, fitting, use)
    if area is not None and latent_mask is not None:
        area = replace(area, filled=latent_mask.convert("L"))
    originals = [_fitted(image, fitting, area) for image in images]
    drawn = [_drawn(original, fitting, use, area) for original in originals]
    _check_sizes(drawn)
    inpainting = None
    if area is not None:
        inpainting = _inpainting(area, fitting, use, originals, drawn[0].size)
    return Prepared(
        pixels=np.stack([np.asarray(picture) for picture in drawn]),
        resize_latents=fitting.resize_mode == LATENT,
        originals=tuple(originals),
        targets=tuple(colors.to_lab(picture) for picture in drawn) if fitting.match_colors else (),
        upscaler=fitting.upscaler,
        inpainting=inpainting,
    )


def flattened(image: Image.Image, background: str) -> Image.Image:
    """The picture as RGB; where one with alpha (mode "RGBA") is transparent, `background` shows.

    Raises:
        BadPicture: `background` is no colour.
    """
    if image.mode != "RGBA":
        return image.convert("RGB")
    try:
        color = ImageColor.getcolor(background, "RGBA")
    except ValueError:
        raise BadPicture(
            f"img2img_background_color {background!r}: allowed are colours such as '#ffffff'"
        ) from None
    ground = Image.new("RGBA", image.size, color)
    ground.paste(image, mask=image)
    return ground.convert("RGB")


def _area(picture: Image.Image, fitting: Fitting, use: MaskUse) -> _Area | None:
    whole = mask.read(picture, use)
    width, height = fitting.width, fitting.height
    if not use.only_masked:
        drawn = resized(whole, fitting.resize_mode, width, height, fitting.upscaler)
        return _Area(drawn=drawn, filled=drawn, cover=mask.doubled(drawn), box=None)
    box = mask.box(whole, use.padding, width, height)
    if box is None:
        return None
    check_cover((width, height), (box[2] - box[0], box[3] - box[1]))
    drawn = resized(whole.crop(box), FILL, width, height, fitting.upscaler)
    return _Area(drawn=drawn, filled=drawn, cover=whole, box=box)


def _fitted(image: Image.Image, fitting: Fitting, area: _Area | None) -> Image.Image:
    """The whole picture as it is to lie under results."""
    plain = flattened(image, fitting.background)
    if fitting.resize_mode == LATENT or (area is not None and area.box is not None):
        return plain
    return resized(plain, fitting.resize_mode, fitting.width, fitting.height, fitting.upscaler)


def _drawn(
    original: Image.Image, fitting: Fitting, use: MaskUse, area: _Area | None
) -> Image.Image:
    """The part of the picture that is drawn anew, filled as asked."""
    if area is None:
        return original
    if area.box is not None:
        part = original.crop(area.box)
        original = resized(part, FILL, fitting.width, fitting.height, fitting.upscaler)
    if use.content == _AS_IT_IS:
        return original
    return filled(original, stretched(area.filled, original.size))


def _inpainting(
    area: _Area,
    fitting: Fitting,
    use: MaskUse,
    originals: Sequence[Image.Image],
    size: tuple[int, int],
) -> Inpainting:
    """The mask for the device, and the covers of the originals, stretched where they differ."""
    width, height = fitting.width, fitting.height
    covers = (
        resized(area.cover, fitting.resize_mode, *original.size, fitting.upscaler)
        if area.cover.size != original.size
        else area.cover
        for original in originals
    )
    return Inpainting(
        latents=mask.for_latents(area.filled, use, width, height),
        conditioning=mask.for_pixels(area.drawn, use, size),
        fill=_LATENT_FILLS.get(use.content, "keep"),
        covers=tuple(cover.convert("L") for cover in covers),
        paste=area.box,
        overlay=use.overlay,
        soft=use.soft,
    )


def _check_sizes(pictures: Sequence[Image.Image]) -> None:
    """Refuse what cannot be encoded together; only pictures taken as they are can be so."""
    sizes = ", ".join(f"{picture.width}x{picture.height}" for picture in pictures)
    if len({picture.size for picture in pictures}) > 1:
        raise BadPicture(f"init images of {sizes}: with resize_mode {LATENT} all have one size")
    if min(pictures[0].size) < _SMALLEST:
        raise BadPicture(
            f"init images of {sizes}: with resize_mode {LATENT} a side has at least {_SMALLEST}"
        )
