"""A picture brought to the wanted size: stretched, cropped, or filled at its borders."""

from PIL import Image

from .errors import BadPicture
from .upscale import MAX_PIXELS, Upscaler, fitted

STRETCH, CROP, FILL, LATENT = range(4)
"""The wire's `resize_mode`; any number but the first two means `FILL` here."""

_Size = tuple[int, int]


def resized(
    image: Image.Image, mode: int, width: int, height: int, upscaler: Upscaler = "None"
) -> Image.Image:
    """The picture at `width` x `height`.

    `STRETCH` ignores its shape and keeps its mode. `CROP` covers the area and cuts off what stands
    out; `FILL` fits inside and draws the outermost rows or columns out to the borders: both give
    RGB.

    Raises:
        BadPicture: a picture too narrow to be cropped, or enlarged by an upscaler, to that size.
    """
    if mode == STRETCH:
        return fitted(image, width, height, upscaler)
    if mode == CROP:
        check_cover(image.size, (width, height))
    inner = _covering(image.size, (width, height), cover=mode == CROP)
    scaled = fitted(image, *inner, upscaler)
    left, top = width // 2 - inner[0] // 2, height // 2 - inner[1] // 2
    canvas = Image.new("RGB", (width, height))
    canvas.paste(scaled, (left, top))
    if mode != CROP:
        if inner[1] < height:
            _draw_out_rows(canvas, scaled, top)
        if inner[0] < width:
            _draw_out_columns(canvas, scaled, left)
    return canvas


def stretched(image: Image.Image, size: _Size) -> Image.Image:
    """The picture at a size, which most have already."""
    return fitted(image, *size, "None")


def check_cover(size: _Size, wanted: _Size) -> None:
    """Refuse a picture that would have to be enlarged beyond reason to cover `wanted`.

    Raises:
        BadPicture: more than `MAX_PIXELS` would be needed.
    """
    width, height = _covering(size, wanted, cover=True)
    if width * height > MAX_PIXELS:
        raise BadPicture(
            f"a picture of {size[0]}x{size[1]} would have to be enlarged to {width}x{height} to "
            f"cover {wanted[0]}x{wanted[1]}; allowed are {MAX_PIXELS} pixels"
        )


def _covering(size: _Size, wanted: _Size, *, cover: bool) -> _Size:
    """The size of the same shape that covers `wanted`, or that fits inside it."""
    (width, height), (wide, high) = size, wanted
    by_height = max(width * high // height, 1), high
    by_width = wide, max(height * wide // width, 1)
    wider = wide / high > width / height
    return by_width if wider == cover else by_height


def _draw_out_rows(canvas: Image.Image, scaled: Image.Image, gap: int) -> None:
    """Fill the bands above and below with the picture's first and last row.

    A band is resampled from a box without height, which Pillow reads as that edge.
    """
    if gap > 0:
        size, bottom = (canvas.width, gap), scaled.height
        canvas.paste(scaled.resize(size, box=(0, 0, canvas.width, 0)), (0, 0))
        below = scaled.resize(size, box=(0, bottom, canvas.width, bottom))
        canvas.paste(below, (0, gap + bottom))


def _draw_out_columns(canvas: Image.Image, scaled: Image.Image, gap: int) -> None:
    """Fill the bands to the left and right, as `_draw_out_rows` does."""
    if gap > 0:
        size, right = (gap, canvas.height), scaled.width
        canvas.paste(scaled.resize(size, box=(0, 0, 0, canvas.height)), (0, 0))
        beside = scaled.resize(size, box=(right, 0, right, canvas.height))
        canvas.paste(beside, (gap + right, 0))
