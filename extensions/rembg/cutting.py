"""What is cut out of a picture by its masks."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops

from ..protocol import BadScriptArgs
from . import library
from .args import Args
from .net import Net

MAX_MATTING_PIXELS = 2**22
"""Pixels of a picture for alpha matting, which takes some 500 bytes for each of them."""
MAX_UNSURE = 2**19
"""Pixels between foreground and background; each is an unknown of one system of equations."""

_MATTING = threading.Lock()
"""numba, where it finds no OpenMP, ends the process if two threads run it at a time."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What was cut out (RGBA), or a mask ("L"); `note` says why alpha matting was left out."""

    image: Image.Image
    note: str = ""


def cut(net: Net, picture: Image.Image, args: Args) -> Cut:
    """Cut a picture out, or make its mask.

    Raises BadScriptArgs for a picture too large for alpha matting, and what `Net.masks` raises.
    """
    matting = args.alpha_matting and not args.return_mask
    if matting and picture.width * picture.height > MAX_MATTING_PIXELS:
        raise BadScriptArgs(
            f"alpha_matting of {picture.width}x{picture.height} pixels: "
            f"allowed are {MAX_MATTING_PIXELS} in all"
        )
    plain = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    masks = net.masks(plain)
    if args.return_mask:
        return Cut(_stacked(masks))
    if matting:
        cuts = [_matted(plain, mask, args) for mask in masks]
    else:
        cuts = [Cut(library.cutouts().naive_cutout(plain, mask)) for mask in masks]
    notes = dict.fromkeys(each.note for each in cuts if each.note)
    return Cut(_stacked([each.image for each in cuts]), "; ".join(notes))


def _matted(picture: Image.Image, mask: Image.Image, args: Args) -> Cut:
    """A picture cut out with soft edges, or without where that cannot be done."""
    foreground = args.alpha_matting_foreground_threshold
    background = args.alpha_matting_background_threshold
    levels = np.asarray(mask)
    unsure = int(np.count_nonzero((levels <= foreground) & (levels >= background)))
    if unsure > MAX_UNSURE:
        return _plainly(picture, mask, f"{unsure} pixels of the mask are unsure, over {MAX_UNSURE}")
    try:
        with _MATTING:
            image: Image.Image = library.cutouts().alpha_matting_cutout(
                picture.convert("RGB"),
                mask,
                foreground,
                background,
                args.alpha_matting_erode_size,
            )
    except ValueError as error:
        # a mask without fore- or background, or equations that do not converge
        return _plainly(picture, mask, str(error))
    if picture.mode == "RGBA":
        alpha = ImageChops.multiply(image.getchannel("A"), picture.getchannel("A"))
        image.putalpha(alpha)
    return Cut(image)


def _plainly(picture: Image.Image, mask: Image.Image, why: str) -> Cut:
    image = library.cutouts().naive_cutout(picture, mask)
    return Cut(image, f"left out: {why:.200}")


def _stacked(parts: Sequence[Image.Image]) -> Image.Image:
    """Pictures one above another, as rembg gives them where there are several."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.width for part in parts)
    whole = Image.new(parts[0].mode, (width, sum(part.height for part in parts)))
    top = 0
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height
    return whole
