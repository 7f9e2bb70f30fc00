"""A reply as the bytes that are sent: pictures stay bytes, and are copied once, into their place.

The event loop touches none of it: everybody's polls would wait for that.
"""

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial

from PIL import Image
from pydantic import BaseModel

from .imagecodec import Encoding, encode, in_base64
from .options import Options
from .workers import Workers

Shown = tuple[Image.Image, str | None]
"""A picture, and the infotext that it carries, if any."""


async def encoded(shown: Sequence[Shown], writing: Options, workers: Workers) -> list[bytes]:
    """Pictures as base64 in the format of `writing`, all of them at once.

    These are the server's settings and not the request's: as in the reference, overrides are over
    by the time pictures are written.
    """
    encoding = Encoding(
        format=writing.samples_format,
        quality=writing.jpeg_quality,
        lossless=writing.webp_lossless,
    )
    return await asyncio.gather(
        *(workers.write(partial(_encoded, *each, encoding)) for each in shown)
    )


def _encoded(picture: Image.Image, infotext: str | None, encoding: Encoding) -> bytes:
    return in_base64(encode(picture, infotext, encoding))


def json_with(reply: BaseModel, field: str, *pieces: bytes) -> bytes:
    """The JSON of `reply`, with `pieces` in place of its first empty `field`: null or a list."""
    empty = b"null" if getattr(reply, field) is None else b"[]"
    name = b'"%s":' % field.encode()
    # within a text of JSON no quotation mark stands by itself
    before, found, behind = reply.model_dump_json().encode().partition(name + empty)
    assert found
    return b"".join((before, name, *pieces, behind))


def quoted(picture: bytes) -> tuple[bytes, bytes, bytes]:
    """A picture in base64 as a text of JSON."""
    return b'"', picture, b'"'


def listed(pictures: Sequence[bytes]) -> Iterator[bytes]:
    """Pictures in base64 as a list of JSON."""
    yield b"["
    for number, picture in enumerate(pictures):
        yield b',"' if number else b'"'
        yield picture
        yield b'"'
    yield b"]"
