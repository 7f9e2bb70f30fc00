"""SD upscale: an enlarged picture, drawn over tile by tile."""

import math
from dataclasses import dataclass

from PIL import Image, ImageColor

from ..limits import check_count, check_size, check_span, first_picture
from ..protocol import BadScriptArgs, Extension, Host, arg
from ..seeds import fixed
from ..series import Series
from ..tiles import Tiling
from ..wanted import Pictures, Wanted

_NOTE = (
    '<p style="margin-bottom:0.75em">Will upscale the image by the selected scale factor; '
    "use width and height sliders to set tile size</p>"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Args:
    """What a client may set, in the order of the wire; `note` is a text of the reference's page."""

    note: str = arg(_NOTE, "")
    overlap: int = arg(64, "Tile overlap", minimum=0, maximum=256, step=16)
    upscaler_index: int | str = arg("None", "Upscaler", lambda _, names: names["upscalers"])
    scale_factor: float = arg(2.0, "Scale Factor", minimum=1.0, maximum=4.0, step=0.05)


def run(host: Host, wanted: Wanted, args: Args) -> Pictures:
    """Enlarge the first init picture and run img2img on its tiles, `n_iter` times."""
    upscaler = _upscaler(args.upscaler_index, host)
    check_span("scale_factor", args.scale_factor, 0.1, 16)
    picture = _opaque(first_picture(wanted), host.options["img2img_background_color"])
    if upscaler != "None":
        width, height = (int(side * args.scale_factor) for side in picture.size)
        check_size("the enlarged picture", width, height)
        picture = host.upscale(picture, upscaler, args.scale_factor)
    tiling = Tiling.of(picture.size, wanted.width, wanted.height, args.overlap)
    tiles = tiling.split(picture)
    batches = math.ceil(len(tiles) / wanted.batch_size)
    check_count("tiles * n_iter", batches * wanted.n_iter)
    host.expect(batches * wanted.n_iter)
    params = {"SD upscale overlap": args.overlap, "SD upscale upscaler": upscaler}
    return _drawn_over(host, fixed(wanted), tiling, tiles, params)


def _upscaler(asked: int | str, host: Host) -> str:
    """The name of an upscaler given by name, in any case, or by its place in the list."""
    names = host.names["upscalers"]
    if isinstance(asked, int):
        if 0 <= asked < len(names):
            return names[asked]
        raise BadScriptArgs(f"upscaler_index {asked}: allowed are 0 to {len(names) - 1}")
    for name in names:
        if name.lower() == asked.lower():
            return name
    raise BadScriptArgs(f"upscaler {asked!r:.80}: allowed are {', '.join(names)}")


def _opaque(picture: Image.Image, background: str) -> Image.Image:
    """The picture as RGB, what is transparent in the colour of `background`."""
    if picture.mode == "RGBA":
        try:
            color = ImageColor.getrgb(background)
        except ValueError:
            raise BadScriptArgs(
                f"setting img2img_background_color is no colour: {background!r:.80}"
            ) from None
        behind = Image.new("RGBA", picture.size, color)
        behind.paste(picture, mask=picture)
        picture = behind
    return picture.convert("RGB")


def _drawn_over(
    host: Host, wanted: Wanted, tiling: Tiling, tiles: list[Image.Image], params: dict[str, object]
) -> Pictures:
    """Every tile drawn over, all of them `n_iter` times; the seed goes up with every batch."""
    series = Series()
    results: list[Image.Image] = []
    size = wanted.batch_size
    for number in range(wanted.n_iter):
        seed = wanted.seed + number
        done = list(tiles)
        for start in range(0, len(tiles), size):
            if series.last and host.stopped():
                break
            batch = wanted.changed(
                init_images=tuple(tiles[start : start + size]),
                seed=seed,
                n_iter=1,
                do_not_save_grid=True,
                do_not_save_samples=True,
            )
            drawn = series.add(host.generate(batch, params))
            seed = drawn.seed + 1
            # one tile alone fills a whole batch
            images = drawn.images[: len(batch.init_images)]
            done[start : start + len(images)] = images
        results.append(tiling.join(done))
        if host.stopped():
            break
    return series.reply(tuple(results))


EXTENSION = Extension(title="SD upscale", modes=("img2img",), args=Args, run=run)
