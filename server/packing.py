"""Replies compressed for the clients that can unpack them."""

import zlib
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.middleware.gzip import IdentityResponder
from starlette.types import ASGIApp, Receive, Scope, Send

_FROM = 1000
"""Bytes from which on a reply is compressed."""
_INLINE = 2**15
"""Bytes that are compressed at once: to hand them to a thread takes as long."""
_LEVEL = 1
_SAMPLE = 2**12
_WORTH = 0.7
"""Of what a sample comes to; base64 comes to three quarters by its 64 letters alone."""
_GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Gzip:
    """Middleware that compresses replies; large ones in a thread, for zlib frees the event loop."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        wanted = "gzip" in Headers(scope=scope).get("accept-encoding", "")
        responder = _Packed if wanted else IdentityResponder
        await responder(self.app, _FROM)(scope, receive, send)


class _Packed(IdentityResponder):
    """One reply, compressed as it is sent."""

    content_encoding = "gzip"
    _packer: "zlib._Compress | None" = None

    async def apply_compression(self, body: bytes, *, more_body: bool) -> bytes:
        """A piece of the reply, packed."""
        if len(body) > _INLINE:
            return await run_in_threadpool(self._pack, body, more_body)
        return self._pack(body, more_body)

    def _pack(self, body: bytes, more: bool) -> bytes:
        if self._packer is None:
            self._packer = zlib.compressobj(_LEVEL, wbits=_GZIP, strategy=strategy(body))
        # a reply in pieces is read in pieces
        how = zlib.Z_SYNC_FLUSH if more else zlib.Z_FINISH
        return self._packer.compress(body) + self._packer.flush(how)


def strategy(body: bytes) -> int:
    """How zlib is to pack a reply: the search for repetitions is left out where it finds none.

    So it is with pictures in base64. By a sample of the middle, since the ends are words.
    """
    middle = len(body) // 2
    sample = body[middle : middle + _SAMPLE]
    packed = len(zlib.compress(sample, _LEVEL))
    return zlib.Z_HUFFMAN_ONLY if packed > _WORTH * len(sample) else zlib.Z_DEFAULT_STRATEGY
