"""Poor man's outpainting: a picture grown outwards, the new parts inpainted tile by tile."""

from dataclasses import dataclass

from PIL import Image

from ..expansion import DIRECTIONS, Growth, growth, masked
from ..limits import check_count, check_span, first_picture
from ..protocol import Extension, Host, arg
from ..series import Series
from ..tiles import Tiling
from ..wanted import Pictures, Wanted

_CONTENTS = ("fill", "original", "latent noise", "latent nothing")
_FILL_UNTOLD = -1
"""A masked content that is filled with the surroundings' colours, as 0, and not told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Args:
    """What a client may set, in the order of the wire."""

    pixels: int = arg(128, "Pixels to expand", minimum=8, maximum=256, step=8)
    mask_blur: int = arg(4, "Mask blur", minimum=0, maximum=64, step=1)
    inpainting_fill: int | str = arg("fill", "Masked content", lambda *_: _CONTENTS)
    direction: tuple[str, ...] = arg(DIRECTIONS, "Outpainting direction", lambda *_: DIRECTIONS)


def run(host: Host, wanted: Wanted, args: Args) -> Pictures:
    """Grow the first init picture and inpaint every tile that reaches into what is new."""
    check_span("mask_blur", args.mask_blur, 0, 1000)
    picture = first_picture(wanted)
    grown = growth(picture, args.pixels, args.direction)
    canvas = Image.new("RGB", (grown.width, grown.height))
    canvas.paste(picture, (grown.left, grown.up))
    tiling = Tiling.of(canvas.size, wanted.width, wanted.height, args.pixels)
    works = [_reaches_out(box, grown) for box in tiling.boxes()]
    check_count("tiles to draw", sum(works))
    host.expect(sum(works))
    tiles = tiling.split(canvas)
    masks = tiling.split(_mask(grown, args.mask_blur * 2))
    latent_masks = tiling.split(_mask(grown, args.mask_blur // 2))
    wanted = wanted.changed(
        n_iter=1,
        batch_size=1,
        do_not_save_grid=True,
        do_not_save_samples=True,
        mask_blur=None,
        mask_blur_x=args.mask_blur * 2,
        mask_blur_y=args.mask_blur * 2,
        inpaint_full_res=False,
        inpainting_fill=_content(args.inpainting_fill),
    )
    series = Series()
    for place, work in enumerate(works):
        if not work or (series.last and host.stopped()):
            continue
        part = wanted.changed(
            init_images=(tiles[place],), mask=masks[place], latent_mask=latent_masks[place]
        )
        drawn = series.add(host.generate(part, {}))
        wanted = wanted.changed(seed=drawn.seed + 1)
        if drawn.images:
            tiles[place] = drawn.images[0]
    return series.reply((tiling.join(tiles),))


def _content(asked: int | str) -> int:
    # A name where an index is meant fills, whatever it names, as in the reference.
    return _FILL_UNTOLD if isinstance(asked, str) else asked


def _reaches_out(box: tuple[int, int, int, int], grown: Growth) -> bool:
    left, top, right, bottom = box
    inside = left >= grown.left and right <= grown.width - grown.right
    return not (inside and top >= grown.up and bottom <= grown.height - grown.down)


def _mask(grown: Growth, inset: int) -> Image.Image:
    """White over what is new and `inset` pixels into the picture from there."""
    return masked(
        (grown.width, grown.height),
        (
            grown.left + (inset if grown.left else 0),
            grown.up + (inset if grown.up else 0),
            grown.width - grown.right - (inset if grown.right else 0),
            grown.height - grown.down - (inset if grown.down else 0),
        ),
    )


EXTENSION = Extension(title="Poor man's outpainting", modes=("img2img",), args=Args, run=run)
