"""What a client's init pictures and mask are prepared for, and what they become."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .soft import SoftInpainting
from .upscale import Upscaler

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; the last two are just outside."""

LatentFill = Literal["keep", "noise", "nothing"]
"""What the masked part of the init latents is set to before sampling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskUse:
    """How a mask is read and what it does; the defaults are the wire's.

    `blur` are sigmas in pixels, across and down. `content` is the wire's `inpainting_fill`: 0 the
    surroundings' colours, 1 what is there, 2 latent noise, 3 empty latents. With `only_masked` the
    masked area, grown by `padding` pixels, is drawn at the full size by itself. Without `round` the
    mask's greys count. `overlay` puts the original's pixels back outside the mask.
    """

    inverted: bool = False
    blur: tuple[int, int] = (4, 4)
    round: bool = True
    content: int = 0
    only_masked: bool = True
    padding: int = 0
    overlay: bool = True
    soft: SoftInpainting | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """How pictures are brought to `width` x `height` pixels; the defaults are the wire's.

    `resize_mode` is one of `resize.STRETCH` and its neighbours. Transparent places show
    `background`. With `match_colors` results get the init picture's colours.
    """

    width: int
    height: int
    resize_mode: int = 0
    upscaler: Upscaler = "None"
    background: str = "#ffffff"
    match_colors: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inpainting:
    """A mask as the device and the finishing want it.

    `latents` is float32 [height // 8, width // 8], 1 where latents are repainted. `conditioning` is
    float32 [H, W] of `Prepared.pixels`, 1 where an inpainting checkpoint is to see nothing.
    `covers` are pictures of mode "L", white where the result is to be seen: one for each of
    `Prepared.originals`, in its size. `paste` is where the result belongs in the original (None:
    it is the whole of it).
    """

    latents: NDArray[np.float32]
    conditioning: NDArray[np.float32]
    fill: LatentFill
    covers: tuple[Image.Image, ...]
    paste: Box | None
    overlay: bool
    soft: SoftInpainting | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """Init pictures ready for the device, and what finishing its results needs of them.

    `pixels` is uint8 [n, H, W, 3]: one picture for every image of a batch, or one for all. H and W
    are the wanted size; with `resize_latents` they are the picture's own, and the latents are to be
    brought to the wanted size. `originals` (RGB, before any crop) and `targets` (LAB, as
    `colors.to_lab` gives it; none: colours stay as they are) have n entries too.
    """

    pixels: NDArray[np.uint8]
    resize_latents: bool
    originals: tuple[Image.Image, ...]
    targets: tuple[NDArray[np.uint8], ...]
    upscaler: Upscaler = "None"
    inpainting: Inpainting | None = None

    def which(self, position: int) -> int:
        """The init picture of the image at `position` of a batch."""
        return position if len(self.originals) > 1 else 0
