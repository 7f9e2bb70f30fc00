"""Outpainting mk2: a picture grown side by side, each from noise that continues the picture."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..expansion import DIRECTIONS, Growth, growth, masked
from ..grids import Style, check_grid, grid, rows_of
from ..limits import check_count, check_span, first_picture
from ..protocol import Extension, Host, arg
from ..series import Series
from ..spectral_fill import fill
from ..wanted import Pictures, Wanted

_NOTE = (
    '<p style="margin-bottom:0.75em">Recommended settings: Sampling Steps: 80-100, '
    "Sampler: Euler a, Denoising strength: 0.8</p>"
)
_STEP = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Args:
    """What a client may set, in the order of the wire; `note` is a text of the reference's page."""

    note: str = arg(_NOTE, "")
    pixels: int = arg(128, "Pixels to expand", minimum=8, maximum=256, step=8)
    mask_blur: int = arg(8, "Mask blur", minimum=0, maximum=64, step=1)
    direction: tuple[str, ...] = arg(DIRECTIONS, "Outpainting direction", lambda *_: DIRECTIONS)
    noise_q: float = arg(
        1.0, "Fall-off exponent (lower=higher detail)", minimum=0.0, maximum=4.0, step=0.01
    )
    color_variation: float = arg(0.05, "Color variation", minimum=0.0, maximum=1.0, step=0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One side to grow by `pixels`, across or down, before the picture or after it.

    `blur` is how far the mask is to blend into the picture, across and down.
    """

    pixels: int
    across: bool
    before: bool
    blur: tuple[int, int]

    @property
    def added(self) -> tuple[int, int]:
        """Pixels the picture grows by, across and down."""
        return (self.pixels, 0) if self.across else (0, self.pixels)

    def kept(
        self, size: tuple[int, int], grown: tuple[int, int], blurs: int
    ) -> tuple[int, int, int, int]:
        """The box of the old picture on a canvas of `size`, less `blurs` times the blur."""
        box = [0, 0, *grown]
        axis = 0 if self.across else 1
        inset = self.pixels + self.blur[axis] * blurs
        if self.before:
            box[axis] = inset
        else:
            box[axis + 2] = size[axis] - inset
        return box[0], box[1], box[2], box[3]


def run(host: Host, wanted: Wanted, args: Args) -> Pictures:
    """Grow the first init picture on every side named, `n_iter` times `batch_size` of them."""
    check_span("mask_blur", args.mask_blur, 0, 1000)
    check_span("noise_q", args.noise_q, 0, 100)
    check_span("color_variation", args.color_variation, 0, 1)
    picture = first_picture(wanted)
    style = Style.of(host.options)
    grown = growth(picture, args.pixels, args.direction)
    sides = _sides(grown, args.mask_blur)
    check_count("sides * n_iter", len(sides) * wanted.n_iter)
    check_grid(wanted.n_iter * wanted.batch_size, 1, (grown.width, grown.height))
    host.expect(len(sides) * wanted.n_iter)
    base = wanted.changed(
        n_iter=1,
        do_not_save_grid=True,
        do_not_save_samples=True,
        inpaint_full_res=False,
        inpainting_fill=1,
        mask_blur=None,
        mask_blur_x=sides[0].blur[0] * 4,
        mask_blur_y=sides[0].blur[1] * 4,
    )
    series = Series()
    results: list[Image.Image] = []
    for _ in range(wanted.n_iter):
        images = [picture] * wanted.batch_size
        for side in sides:
            if series.last and host.stopped():
                break
            canvases = [_canvas(image, side, args) for image in images]
            part = _part(base, canvases, images[0].size, side)
            drawn = series.add(host.generate(part, {}))
            images = _pasted(canvases, images[0].size, drawn.images, side)
        results += images
    pictures = tuple(results)
    lonely = len(pictures) < 2 and host.options["grid_only_if_multiple"]
    if host.options["return_grid"] and not lonely:
        rows = rows_of(len(pictures), 1, host.options)
        pictures = (grid(pictures, rows, style), *pictures)
    return series.reply(pictures)


def _sides(grown: Growth, blur: int) -> list[_Side]:
    blurs = (
        blur if grown.left or grown.right else 0,
        blur if grown.up or grown.down else 0,
    )
    named = (
        (grown.left, True, True),
        (grown.right, True, False),
        (grown.up, False, True),
        (grown.down, False, False),
    )
    return [
        _Side(pixels=pixels, across=across, before=before, blur=blurs)
        for pixels, across, before in named
        if pixels
    ]


def _canvas(image: Image.Image, side: _Side, args: Args) -> Image.Image:
    """The picture in its place on a larger canvas, what is new filled with noise."""
    grown = _grown(image.size, side)
    size = (math.ceil(grown[0] / _STEP) * _STEP, math.ceil(grown[1] / _STEP) * _STEP)
    canvas = Image.new("RGB", size)
    canvas.paste(image, side.added if side.before else (0, 0))
    mask = masked(size, side.kept(size, grown, 1)).convert("RGB")
    pixels, wanted = (np.asarray(each, np.float64) / 255 for each in (canvas, mask))
    filled = fill(pixels, wanted, args.noise_q, args.color_variation)
    return Image.fromarray((filled * 255).astype(np.uint8))


def _grown(size: tuple[int, int], side: _Side) -> tuple[int, int]:
    return size[0] + side.added[0], size[1] + side.added[1]


def _part(base: Wanted, canvases: list[Image.Image], size: tuple[int, int], side: _Side) -> Wanted:
    """The generation that draws the new side of canvases, as much of them as was asked for."""
    grown, full = _grown(size, side), canvases[0].size
    width = min(base.width, grown[0]) if side.across else full[0]
    height = full[1] if side.across else min(base.height, grown[1])
    x = 0 if side.across and side.before else full[0] - width
    y = 0 if not side.across and side.before else full[1] - height
    box = (x, y, x + width, y + height)
    mask = masked(full, side.kept(full, grown, 1)).crop(box)
    return base.changed(
        width=width,
        height=height,
        init_images=tuple(canvas.crop(box) for canvas in canvases),
        mask=mask.convert("RGB"),
        latent_mask=masked(mask.size, side.kept(mask.size, grown, 2)).convert("RGB"),
    )


def _pasted(
    canvases: list[Image.Image],
    size: tuple[int, int],
    results: tuple[Image.Image, ...],
    side: _Side,
) -> list[Image.Image]:
    """The canvases with what was drawn in its place, cut to the grown picture."""
    for canvas, result in zip(canvases, results, strict=False):
        x = 0 if side.across and side.before else canvas.width - result.width
        y = 0 if not side.across and side.before else canvas.height - result.height
        canvas.paste(result, (x, y))
    return [canvas.crop((0, 0, *_grown(size, side))) for canvas in canvases]


EXTENSION = Extension(title="Outpainting mk2", modes=("img2img",), args=Args, run=run)
