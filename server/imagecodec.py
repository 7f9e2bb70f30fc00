"""Pictures as bytes and base64: written with their infotext, read with suspicion."""

import base64
import binascii
import io
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from models.damage import PICTURE_DAMAGE

from . import infotext as infotexts

READABLE = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""Formats a client's picture may have, by content and not by name; anything else is refused."""

MAX_PIXELS = 2**25
"""Pixels a client's picture may unpack to; its header is read before anything is unpacked."""

MAX_INFOTEXT = 2**18
"""Characters of infotext a client's picture may carry."""

_FORMATS: Mapping[str, str] = MappingProxyType(
    {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}
)
_SIDES: Mapping[str, int] = MappingProxyType({"PNG": 2**31 - 1, "JPEG": 65_535, "WEBP": 16_383})
"""Pixels a side can have in a format."""

_SCHEMES = ("http://", "https://")
_UNICODE = b"UNICODE\0"
_JPEG_SEGMENT = 65_533
"""Bytes a JPEG's EXIF block can have."""

_SLICE = 3 * 2**18
"""Bytes that are made base64 at a time, in whole groups of three: Python's other threads stand
still meanwhile, the event loop's among them.
"""
_LETTERS = 4 * 2**18
"""Characters of base64 that are read at a time."""

_PNG: Mapping[str, int] = MappingProxyType({"compress_level": 1, "compress_type": zlib.Z_RLE})
"""How PNG is packed. What models paint has grain, in which zlib's search for repetitions finds next
to nothing: without it files are as small as at level 6, in half the time
(`tests/bench/test_encoding.py`).
"""

_HIDDEN = frozenset(
    {
        "jfif",
        "jfif_version",
        "jfif_unit",
        "jfif_density",
        "dpi",
        "exif",
        "icc_profile",
        "loop",
        "background",
        "timestamp",
        "duration",
        "photoshop",
        "progressive",
        "progression",
        "chromaticity",
    }
)
"""Metadata that tells how a file is built rather than what it shows."""


class BadImage(ValueError):
    """What a client sent as a picture is none that we read."""


class RemoteImage(ValueError):
    """A client sent an address where the server fetches none (`server.remote` is where it does)."""

    def __init__(self, address: str) -> None:
        super().__init__(f"{address[:80]!r} is an address; send the picture itself, in base64")


class BadImageFormat(ValueError):
    """A picture is to be written in a format that we do not write."""

    def __init__(self, name: str) -> None:
        super().__init__(f"image format {name!r} is not one of {', '.join(_FORMATS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How pictures are written: `format` is png, jpg, jpeg or webp; quality is 1 to 100."""

    format: str = "png"
    quality: int = 80
    lossless: bool = False


def extension(image: Image.Image, encoding: Encoding) -> str:
    """What a file of the picture is called behind its dot: png where the format cannot hold it.

    Raises:
        BadImageFormat: as `encode`.
    """
    name = encoding.format.lower()
    if name not in _FORMATS:
        raise BadImageFormat(encoding.format)
    return name if max(image.size) <= _SIDES[_FORMATS[name]] else "png"


def encode(image: Image.Image, infotext: str | None, encoding: Encoding) -> bytes:
    """The picture as a file, its infotext in PNG text or in the EXIF comment of the others.

    Raises:
        BadImageFormat: a format that is not one of png, jpg, jpeg, webp.
    """
    kind = _FORMATS[extension(image, encoding)]
    infotext = None if infotext is None else infotext.encode(errors="replace").decode()
    if kind == "PNG":
        return encode_png(image, {} if infotext is None else {"parameters": infotext})
    file = io.BytesIO()
    exif = _exif(infotext)
    if kind == "JPEG" and len(exif) > _JPEG_SEGMENT:
        exif = b""
    # a picture of its own: Pillow notes in it how it is written, and others may write it meanwhile
    plain = image.copy() if image.mode in ("RGB", "L") else image.convert("RGB")
    lossless = {"lossless": encoding.lossless} if kind == "WEBP" else {}
    plain.save(file, kind, quality=min(max(encoding.quality, 1), 100), exif=exif, **lossless)
    return file.getvalue()


def encode_png(image: Image.Image, notes: Mapping[str, str]) -> bytes:
    """The picture as a PNG file that carries `notes` as its text."""
    text = PngImagePlugin.PngInfo()
    for key, value in notes.items():
        text.add_text(key, value)
    file = io.BytesIO()
    # a picture of its own: Pillow notes in it how it is written, and others may write it meanwhile
    image.copy().save(file, "PNG", pnginfo=text, **_PNG)
    return file.getvalue()


def in_base64(data: bytes) -> bytes:
    """Bytes as the wire has them: base64 with no `data:` prefix."""
    if len(data) <= _SLICE:
        return binascii.b2a_base64(data, newline=False)
    view, starts = memoryview(data), range(0, len(data), _SLICE)
    return b"".join(
        binascii.b2a_base64(view[start : start + _SLICE], newline=False) for start in starts
    )


def to_base64(data: bytes) -> str:
    """As `in_base64`, as text."""
    return in_base64(data).decode("ascii")


def decode(text: str) -> Image.Image:
    """A client's picture from base64, with or without `data:image/...;base64,`, fully loaded.

    It is turned upright as its EXIF says; of an animation it is the first frame. 16 bits of grey
    become 8, the rest keeps its mode.

    Raises:
        BadImage: not base64, not a picture of `READABLE`, truncated, or too large to unpack.
        RemoteImage: an http(s) address.
    """
    image = ImageOps.exif_transpose(_opened(_bytes(text)))
    if image.mode.startswith("I"):
        return _in_8_bits(image)
    if image.mode in ("P", "RGB") and isinstance(image.info.get("transparency"), bytes):
        return image.convert("RGBA")
    return image


def metadata(text: str) -> tuple[str, dict[str, Any]]:
    """The infotext of a client's picture ("" where it has none) and its metadata, fit for JSON.

    Raises:
        BadImage, RemoteImage: as `decode`; also for an infotext longer than `MAX_INFOTEXT`.
    """
    image = _opened(_bytes(text))
    try:
        comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    except PICTURE_DAMAGE as error:
        raise BadImage(f"the EXIF block cannot be read: {error}") from error
    items = {str(key): _shown(value) for key, value in image.info.items() if key not in _HIDDEN}
    infotext = (
        _user_comment(comment) or str(items.pop("parameters", "")) or _novelai(items, image.size)
    )
    if image.format == "GIF":
        infotext = infotext or str(items.get("comment", ""))
    if len(infotext) > MAX_INFOTEXT:
        raise BadImage(f"an infotext of {len(infotext)} characters; at most {MAX_INFOTEXT}")
    return infotext, ({"parameters": infotext} if infotext else {}) | items


def is_address(text: str) -> bool:
    """Whether a client sent the address of a picture rather than the picture."""
    return text.startswith(_SCHEMES)


def check_header(data: bytes) -> None:
    """Raise `BadImage` for what does not begin as a picture that we read."""
    _size(data)


def size(text: str) -> tuple[int, int]:
    """Width and height by the header of a client's picture, before it is turned upright.

    Raises:
        BadImage, RemoteImage: as `decode`, as far as the header shows it.
    """
    return _size(_bytes(text))


def _size(data: bytes) -> tuple[int, int]:
    try:
        with _sized(data) as image:
            return image.size
    except BadImage:
        raise
    except PICTURE_DAMAGE as error:
        raise BadImage(f"not a picture of {', '.join(READABLE)}: {error}") from error


def _bytes(text: str) -> bytes:
    if is_address(text):
        raise RemoteImage(text)
    if text.startswith("data:image/"):
        _, comma, text = text.partition(",")
        if not comma:
            raise BadImage("a data: URI without a comma")
    compact = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    if "=" in compact:
        raise BadImage("not base64: its end stands in the middle")
    compact += "=" * (-len(compact) % 4)
    slices = (compact[start : start + _LETTERS] for start in range(0, len(compact), _LETTERS))
    try:
        return b"".join(base64.b64decode(each, validate=True) for each in slices)
    except (binascii.Error, ValueError) as error:
        raise BadImage(f"not base64: {error}") from error


def _sized(data: bytes) -> Image.Image:
    """A picture of a size that we unpack, not yet unpacked."""
    image = Image.open(io.BytesIO(data), formats=READABLE)
    if image.width * image.height > MAX_PIXELS:
        raise BadImage(f"{image.width}x{image.height} pixels; at most {MAX_PIXELS} in all")
    return image


def _opened(data: bytes) -> Image.Image:
    try:
        image = _sized(data)
        image.load()
    except BadImage:
        raise
    except PICTURE_DAMAGE as error:
        raise BadImage(f"not a picture of {', '.join(READABLE)}: {error}") from error
    return image


def _in_8_bits(image: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit grey; Pillow's own conversion would cut off what is above 255."""
    levels = np.clip(np.asarray(image), 0, 65_535)
    grey = Image.fromarray(np.rint(levels / 257).astype(np.uint8))
    grey.info = image.info
    return grey


def _exif(infotext: str | None) -> bytes:
    """An EXIF block whose UserComment is the infotext, in UTF-16 as the reference writes it."""
    if infotext is None:
        return b""
    exif = Image.Exif()
    comment = _UNICODE + infotext.encode("utf-16-be", errors="replace")
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    return exif.tobytes()


def _user_comment(comment: object) -> str:
    """The text of an EXIF UserComment; other writers use little-endian or plain bytes."""
    if not isinstance(comment, bytes):
        return comment if isinstance(comment, str) else ""
    charset, text = comment[:8], comment[8:]
    if charset == _UNICODE:
        little = text[:2] == b"\xff\xfe" or (text[1:2] == b"\0" and text[:1] != b"\0")
        decoded = text.decode("utf-16-le" if little else "utf-16-be", errors="replace")
        return decoded.lstrip("\ufeff")
    return (text if charset in (b"ASCII\0\0\0", bytes(8)) else comment).decode(errors="replace")


def _novelai(items: Mapping[str, Any], size: tuple[int, int]) -> str:
    """The infotext of a picture of `size` by NovelAI, which keeps its settings as JSON."""
    if items.get("Software") != "NovelAI":
        return ""
    try:
        settings = json.loads(items.get("Comment", ""))
    except (ValueError, RecursionError):
        return ""
    if not isinstance(settings, dict):
        return ""
    return infotexts.from_novelai(str(items.get("Description", "")), settings, size)


def _shown(value: object) -> object:
    """A piece of metadata as JSON can carry it."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if value is None or isinstance(value, bool | int):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else str(value)
