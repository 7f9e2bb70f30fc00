"""Plans of pictures from pictures, of a few shades that are easy to reckon with."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.pictures.prepared import Inpainting, LatentFill, Prepared
from pipelines.pictures.soft import SoftInpainting
from pipelines.plan import GuidanceSpec, Img2ImgPlan

from .toy import ToyCheckpoint, choice, settings


def shades(*values: int, width: int = 32, height: int = 16) -> NDArray[np.uint8]:
    """A grey picture for each of `values`."""
    column = np.array(values, np.uint8).reshape(-1, 1, 1, 1)
    return np.broadcast_to(column, (len(values), height, width, 3)).copy()


def latents_of(*values: int) -> Tensor:
    """The toy's latents of such pictures: [n,4,2,4], exactly."""
    levels = torch.tensor(values, dtype=torch.float32) / 255 * 2 - 1
    pixels = levels.reshape(-1, 1, 1, 1).expand(-1, 3, 16, 32).contiguous()
    return ToyCheckpoint().encode_image(pixels)


def right_half(
    fill: LatentFill = "keep", soft: SoftInpainting | None = None, grey: float = 1.0
) -> Inpainting:
    """The right half is repainted."""
    latents, conditioning = np.zeros((2, 4), np.float32), np.zeros((16, 32), np.float32)
    latents[:, 2:], conditioning[:, 16:] = grey, 1
    return Inpainting(
        latents=latents,
        conditioning=conditioning,
        fill=fill,
        covers=(),
        paste=None,
        overlay=False,
        soft=soft,
    )


def init(
    *values: int,
    inpainting: Inpainting | None = None,
    size: tuple[int, int] = (32, 16),
    resize_latents: bool = False,
) -> Prepared:
    return Prepared(
        pixels=shades(*values, width=size[0], height=size[1]),
        resize_latents=resize_latents,
        originals=(),
        targets=(),
        inpainting=inpainting,
    )


def redrawing(
    *prompts: str,
    shown: Prepared | None = None,
    denoising: float = 0.75,
    cfg_scale: float = 1.0,
    first_seed: int = 1,
    **more: Any,
) -> Img2ImgPlan:
    """A plan of one 32 by 16 picture a prompt from a light grey one, all in one batch."""
    count = len(prompts)
    own: dict[str, Any] = {
        "model": choice(),
        "prompts": prompts,
        "guidance": GuidanceSpec(scale=cfg_scale),
        "init": shown or init(200),
        "denoising": denoising,
    }
    return Img2ImgPlan(**{**settings(count, first_seed), **own, **more})
