"""Results become what the client gets: colours corrected, the original put back around them."""

from dataclasses import dataclass

from PIL import Image

from . import colors
from .prepared import Box, Prepared
from .resize import CROP, FILL, resized, stretched
from .surroundings import without
from .upscale import Upscaler

_CUT_OUT = "RGBA"
"""The mode of a result whose background a hook has taken away."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Finished:
    """A picture (RGB), and the result alone in its place, where nothing of the original covers it.

    Both are RGBA where the result is: something has cut it out.

    `cover` is the mask ("L") that the two were put together by (None: there was no mask).
    """

    picture: Image.Image
    alone: Image.Image
    cover: Image.Image | None


def finish(
    image: Image.Image, prepared: Prepared, position: int, soft_cover: Image.Image | None = None
) -> Finished:
    """The result at `position` of its batch (RGB, RGBA), corrected and pasted into its original.

    `soft_cover` (of `covers.soft_covers`) takes the place of the client's mask. A result that
    something enlarged in between has its original enlarged too.
    """
    return composed(corrected(image, prepared, position), prepared, position, soft_cover)


def corrected(image: Image.Image, prepared: Prepared, position: int) -> Image.Image:
    """The result with its init picture's colours, where the job asks for that."""
    if not prepared.targets:
        return image
    result = colors.corrected(image, prepared.targets[prepared.which(position)])
    if image.mode == _CUT_OUT:
        result.putalpha(image.getchannel("A"))
    return result


def composed(
    image: Image.Image, prepared: Prepared, position: int, soft_cover: Image.Image | None = None
) -> Finished:
    """The result pasted into its original, colours untouched."""
    inpainting = prepared.inpainting
    if inpainting is None:
        return Finished(picture=image, alone=image, cover=None)
    mode = _CUT_OUT if image.mode == _CUT_OUT else "RGB"
    which = prepared.which(position)
    cover = soft_cover or inpainting.covers[which]
    if soft_cover is None and not inpainting.overlay:
        return Finished(picture=image, alone=image, cover=cover)
    original = prepared.originals[which]
    hole = without(original, stretched(cover, original.size)).convert("RGBA")
    if inpainting.paste is not None:
        image = placed(image, original.size, inpainting.paste, prepared.upscaler)
    else:
        hole = stretched(hole, image.size)
    picture = image.convert("RGBA")
    picture.alpha_composite(hole)
    return Finished(picture=picture.convert(mode), alone=image, cover=cover)


def placed(
    image: Image.Image, size: tuple[int, int], paste: Box, upscaler: Upscaler
) -> Image.Image:
    """The result on an empty picture (RGBA) of `size`, cropped and fitted to its box."""
    left, top, right, bottom = paste
    ground = Image.new("RGBA", size)
    inner = resized(image, CROP, right - left, bottom - top, upscaler)
    if image.mode == _CUT_OUT:
        alpha = resized(image.getchannel("A"), CROP, right - left, bottom - top)
        inner.putalpha(alpha.convert("L"))
    ground.paste(inner, (left, top))
    return ground


def mask_picture(finished: Finished) -> Image.Image | None:
    """The mask as a picture (RGB), as `return_mask` sends it; None without one."""
    return finished.cover and finished.cover.convert("RGB")


def mask_composite(finished: Finished) -> Image.Image | None:
    """What was repainted, on nothing (RGBA), as `return_mask_composite` sends it."""
    if finished.cover is None:
        return None
    size = finished.picture.size
    cover = resized(finished.cover, FILL, *size).convert("L")
    painted = finished.alone.convert("RGBA").convert("RGBa")
    return Image.composite(painted, Image.new("RGBa", size), cover).convert("RGBA")
