"""Pictures written and read: infotext, formats, and files that are not what they say."""

import base64
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from server import imagecodec
from server.imagecodec import BadImage, BadImageFormat, Encoding, RemoteImage

from .wire import DATA

TEXT = "1 girl, héllo 日本 🎉\nSteps: 4, Sampler: Euler, Seed: 1272"


def picture(mode: str = "RGB", size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A red field with a blue square in its upper left corner."""
    image = Image.new("RGB", size, (200, 10, 10))
    image.paste((10, 10, 200), (0, 0, min(16, size[0]), min(16, size[1])))
    return image.convert(mode)


def saved(image: Image.Image, kind: str, **options: Any) -> str:
    """The picture as Pillow writes it, in base64."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize(("name", "kind"), [("png", "PNG"), ("JPG", "JPEG"), ("webp", "WEBP")])
def test_infotext_travels_in_every_format(name: str, kind: str) -> None:
    data = imagecodec.encode(picture(), TEXT, Encoding(format=name))
    assert Image.open(io.BytesIO(data)).format == kind
    assert imagecodec.metadata(imagecodec.to_base64(data)) == (TEXT, {"parameters": TEXT})


def test_comment_is_written_as_the_reference_writes_it() -> None:
    data = imagecodec.encode(picture(), "é", Encoding(format="jpg"))
    exif = Image.open(io.BytesIO(data)).getexif().get_ifd(ExifTags.IFD.Exif)
    assert exif[ExifTags.Base.UserComment] == b"UNICODE\0" + "é".encode("utf-16-be")


def test_without_infotext_nothing_is_written() -> None:
    data = imagecodec.encode(picture(), None, Encoding())
    assert imagecodec.metadata(imagecodec.to_base64(data)) == ("", {})


def test_png_and_lossless_webp_keep_every_pixel() -> None:
    for encoding in (Encoding(), Encoding(format="webp", lossless=True)):
        data = imagecodec.encode(picture(), None, encoding)
        assert Image.open(io.BytesIO(data)).convert("RGB").tobytes() == picture().tobytes()


def test_png_is_as_small_as_at_pillow_s_usual_level() -> None:
    """Of a picture with grain, as models paint it."""
    dice = np.random.default_rng(0)
    soft = Image.fromarray(dice.integers(0, 255, (16, 16, 3), np.uint8)).resize((256, 256))
    grain = dice.integers(-4, 5, (256, 256, 3))
    image = Image.fromarray((np.asarray(soft) + grain).clip(0, 255).astype(np.uint8))
    usual = io.BytesIO()
    image.save(usual, "PNG")
    assert len(imagecodec.encode(image, None, Encoding())) <= 1.01 * len(usual.getvalue())


def test_quality_counts() -> None:
    noisy = Image.effect_noise((64, 64), 90).convert("RGB")
    sizes = [
        len(imagecodec.encode(noisy, None, Encoding(format="jpg", quality=quality)))
        for quality in (-5, 30, 95, 400)
    ]
    assert sizes == sorted(sizes)
    assert sizes[1] * 2 < sizes[2]


def test_transparency_is_dropped_where_the_format_has_none() -> None:
    data = imagecodec.encode(picture("RGBA"), None, Encoding(format="jpeg"))
    assert Image.open(io.BytesIO(data)).mode == "RGB"


def test_an_infotext_too_long_for_jpeg_costs_no_picture() -> None:
    data = imagecodec.encode(picture(), "x" * 70_000, Encoding(format="jpg"))
    assert imagecodec.metadata(imagecodec.to_base64(data)) == ("", {})


def test_unknown_format_is_refused_by_name() -> None:
    with pytest.raises(BadImageFormat, match="'tiff' is not one of png, jpg, jpeg, webp"):
        imagecodec.encode(picture(), None, Encoding(format="tiff"))


def test_reads_the_references_picture() -> None:
    text = base64.b64encode((DATA / "sampler__euler.0.png").read_bytes()).decode()
    infotext, items = imagecodec.metadata(text)
    assert infotext.startswith("1 girl\nSteps: 6, Sampler: Euler, Schedule type: Automatic")
    assert items == {"parameters": infotext}
    assert imagecodec.decode(text).size == (64, 64)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_decodes_every_readable_format(kind: str) -> None:
    decoded = imagecodec.decode(saved(picture(), kind)).convert("RGB")
    assert decoded.size == (64, 48)
    blue, red = decoded.getpixel((4, 4)), decoded.getpixel((40, 30))
    assert isinstance(blue, tuple)
    assert isinstance(red, tuple)
    assert blue[2] > 150 > blue[0]
    assert red[0] > 150 > red[2]


def test_base64_may_be_dressed_up() -> None:
    plain = saved(picture(), "PNG")
    wrapped = "\r\n".join(plain[i : i + 60] for i in range(0, len(plain), 60))
    url_safe = plain.replace("+", "-").replace("/", "_").rstrip("=")
    for text in (f"data:image/png;base64,{plain}", f"data:image/x,{wrapped}", wrapped, url_safe):
        assert imagecodec.decode(text).tobytes() == picture().tobytes()


@pytest.mark.parametrize("length", [0, 1, 2, 3, 8, 9, 10, 11, 12, 100])
def test_base64_does_not_show_its_slices(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    monkeypatch.setattr(imagecodec, "_SLICE", 9)
    monkeypatch.setattr(imagecodec, "_LETTERS", 8)
    data = bytes(range(length))
    assert imagecodec.in_base64(data) == base64.b64encode(data)
    assert imagecodec.to_base64(data) == base64.b64encode(data).decode()
    assert imagecodec._bytes(imagecodec.to_base64(data)) == data


@pytest.mark.parametrize("letters", [8, 2**20])
def test_what_is_no_base64_is_none_in_slices_either(
    monkeypatch: pytest.MonkeyPatch, letters: int
) -> None:
    monkeypatch.setattr(imagecodec, "_LETTERS", letters)
    for text in ("QUFBQUFBQQ==QUFB", "QQ==QQ==", "QUFBQUFBQUF!", "QUFBQ", "é"):
        with pytest.raises(BadImage, match="not base64"):
            imagecodec._bytes(text)
    # what lacks only its end is read
    assert imagecodec._bytes("QUFBQUFBQUE") == b"AAAAAAAA"


def test_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    turned = imagecodec.decode(saved(picture(), "PNG", exif=exif))
    assert turned.size == (48, 64)
    assert turned.getpixel((40, 4)) == (10, 10, 200)


def test_byte_transparency_becomes_an_alpha_channel() -> None:
    image = imagecodec.decode(saved(picture("P"), "PNG", transparency=b"\0" * 8))
    assert image.mode == "RGBA"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "CMYK", "P", "RGBA"])
def test_odd_modes_are_read(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    source = Image.new("I;16", (64, 48)) if mode == "I;16" else picture(mode)
    assert imagecodec.decode(saved(source, kind)).size == (64, 48)


def test_16_bits_of_grey_become_8() -> None:
    levels = np.array([[0, 128, 257, 32_896, 65_535]], np.uint16)
    image = imagecodec.decode(saved(Image.fromarray(levels), "PNG"))
    assert image.mode == "L"
    assert np.asarray(image).tolist() == [[0, 0, 1, 128, 255]]


def test_print_colours_become_screen_colours() -> None:
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red = imagecodec.decode(saved(inks, "JPEG", quality=100)).convert("RGB").getpixel((8, 8))
    assert isinstance(red, tuple)
    assert red[0] > 245
    assert red[1] < 10 > red[2]


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [picture().quantize(), Image.new("RGB", (64, 48), (0, 255, 0)).quantize()]
    for kind in ("GIF", "PNG", "WEBP"):
        first, second = frames if kind == "GIF" else [each.convert("RGB") for each in frames]
        text = saved(first, kind, save_all=True, append_images=[second], duration=50)
        blue, red = (
            imagecodec.decode(text).convert("RGB").getpixel(at) for at in ((2, 2), (40, 30))
        )
        assert isinstance(blue, tuple)
        assert isinstance(red, tuple)
        assert blue[2] > 150 > blue[1]
        assert red[0] > 150 > red[1]


def test_alpha_keeps_its_levels() -> None:
    image = Image.new("RGBA", (4, 1))
    for x, alpha in enumerate((0, 1, 128, 255)):
        image.putpixel((x, 0), (50, 60, 70, alpha))
    assert imagecodec.decode(saved(image, "PNG")).tobytes() == image.tobytes()
    grey = Image.new("LA", (2, 1), (9, 77))
    assert imagecodec.decode(saved(grey, "PNG")).getpixel((0, 0)) == (9, 77)


def test_a_header_is_enough_to_tell_what_is_no_picture() -> None:
    imagecodec.check_header(PNG[:100])
    for data in (b"", b"<html>", PNG[:12], base64.b64decode(png(50_000, 50_000))):
        with pytest.raises(BadImage):
            imagecodec.check_header(data)


def test_a_surrogate_in_an_infotext_costs_no_picture() -> None:
    for name in ("png", "jpg", "webp"):
        data = imagecodec.encode(picture(), "a \ud800 b", Encoding(format=name))
        assert imagecodec.metadata(imagecodec.to_base64(data))[0] == "a ? b"


def test_text_that_is_not_latin_1_is_written_as_itxt() -> None:
    assert b"tEXtparameters\0caf\xe9" in imagecodec.encode(picture(), "café", Encoding())
    assert b"iTXtparameters\0" in imagecodec.encode(picture(), "日本", Encoding())


@pytest.mark.parametrize(("name", "side"), [("webp", 16_384), ("jpg", 65_536)])
def test_what_a_format_cannot_hold_becomes_a_png(name: str, side: int) -> None:
    data = imagecodec.encode(Image.new("RGB", (side, 1)), TEXT, Encoding(format=name))
    assert Image.open(io.BytesIO(data)).format == "PNG"
    assert imagecodec.metadata(imagecodec.to_base64(data))[0] == TEXT


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> str:
    """A PNG made of a header and these chunks, in base64."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), *chunks, (b"IEND", b""))
    )
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()


PNG = base64.b64decode(saved(picture(), "PNG"))
BOMB = zlib.compress(b"a" * 2**24, 9)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zzz",
        "a",
        "=",
        "é" * 8,
        "data:image/png;base64",
        "data:text/plain;base64,AAAA",
        "file:///etc/passwd",
        base64.b64encode(PNG[:100]).decode(),
        saved(picture(), "JPEG")[:400],
        saved(picture(), "WEBP")[:60],
        saved(picture(), "GIF")[:40],
        saved(picture(), "TIFF"),
        saved(picture(), "ICO"),
        saved(picture(), "PDF"),
        base64.b64encode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n").decode(),
        base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode(),
        png(50_000, 50_000, (b"IDAT", b"x")),
        png(6_000, 6_000, (b"IDAT", b"x")),
        png(0, 9),
        png(9, 9, (b"zTXt", b"parameters\0\0" + BOMB), (b"IDAT", b"x")),
        png(9, 9, (b"iCCP", b"icc\0\0" + BOMB), (b"IDAT", b"x")),
        png(9, 9),
    ],
    ids=range(23),
)
def test_what_is_no_sound_picture_is_refused(text: str) -> None:
    with pytest.raises(BadImage):
        imagecodec.decode(text)
    with pytest.raises(BadImage):
        imagecodec.metadata(text)


@pytest.mark.parametrize("address", ["http://127.0.0.1/x.png", "https://example.com/x.png"])
def test_addresses_are_not_fetched(address: str) -> None:
    with pytest.raises(RemoteImage):
        imagecodec.decode(address)


def test_a_picture_over_the_limit_says_the_limit() -> None:
    with pytest.raises(BadImage, match="6000x6000 pixels; at most 33554432"):
        imagecodec.decode(png(6_000, 6_000, (b"IDAT", b"x")))


def test_an_endless_infotext_is_refused() -> None:
    data = imagecodec.encode(picture(), "x" * (imagecodec.MAX_INFOTEXT + 1), Encoding())
    with pytest.raises(BadImage, match="an infotext of 262145 characters"):
        imagecodec.metadata(imagecodec.to_base64(data))


def test_other_metadata_is_fit_for_json() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "me")
    text.add_text("parameters", "a cat")
    infotext, items = imagecodec.metadata(saved(picture(), "PNG", pnginfo=text, dpi=(72, 72)))
    assert infotext == "a cat"
    assert items == {"parameters": "a cat", "Author": "me"}


def test_gif_comment_and_little_endian_exif_are_infotexts() -> None:
    assert imagecodec.metadata(saved(picture(), "GIF", comment=b"a dog"))[0] == "a dog"
    exif = Image.Exif()
    comment = b"UNICODE\0" + "a bird".encode("utf-16-le")
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    assert imagecodec.metadata(saved(picture(), "JPEG", exif=exif))[0] == "a bird"


@pytest.mark.parametrize(
    ("comment", "found"),
    [
        ('{"uc": "bad", "steps": 28, "sampler": "ddim", "scale": 1, "seed": 2}', True),
        ("{", False),
        ("[1]", False),
        ("[" * 10**5, False),
    ],
)  # fmt: skip
def test_novelai_pictures(comment: str, found: bool) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", "NovelAI")
    text.add_text("Description", "a fox")
    text.add_text("Comment", comment)
    infotext, _ = imagecodec.metadata(saved(picture(), "PNG", pnginfo=text))
    assert infotext.startswith("a fox\nNegative prompt: bad\nSteps: 28, Sampler: DDIM") is found
    width, height = picture().size
    assert (f"Size: {width}x{height}, " in infotext) is found
    assert bool(infotext) is found
