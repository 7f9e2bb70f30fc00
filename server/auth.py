"""Who may call: HTTP Basic for every path, and no writing from foreign web pages."""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import error_body

OPEN_PATHS = frozenset({"/internal/ping"})
"""Paths that answer without credentials, for whoever watches that the server lives."""

_CHALLENGE: Mapping[str, str] = {"WWW-Authenticate": 'Basic realm="darkroom", charset="UTF-8"'}


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """Middleware that answers 401 to every request without one of `credentials`."""

    app: ASGIApp
    credentials: Sequence[tuple[str, str]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _path(scope) in OPEN_PATHS:
            return await self.app(scope, receive, send)
        refusal = self._refusal(Headers(scope=scope).get("authorization", ""))
        if refusal is None:
            return await self.app(scope, receive, send)
        answer = JSONResponse(error_body("HTTPException", detail=refusal), 401, _CHALLENGE)
        await answer(scope, receive, send)

    def _refusal(self, authorization: str) -> str | None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "basic" or not token.strip():
            return "Not authenticated"
        try:
            user, colon, password = base64.b64decode(token, validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return "Invalid authentication credentials"
        if not colon:
            return "Invalid authentication credentials"
        return None if self._known(user, password) else "Incorrect username or password"

    def _known(self, user: bytes, password: bytes) -> bool:
        """Compare with every pair in constant time, whether or not an earlier one matched."""
        matches = [
            hmac.compare_digest(user, name.encode())
            & hmac.compare_digest(password, secret.encode())
            for name, secret in self.credentials
        ]
        return any(matches)


@dataclass(frozen=True, slots=True)
class Origins:
    """The web pages that may call from another origin: as listed, or matching a pattern."""

    listed: frozenset[str] = frozenset()
    pattern: re.Pattern[str] | None = None

    @classmethod
    def of(cls, listed: str | None, pattern: str | None) -> "Origins":
        """From the two CORS flags; a trailing slash, which no origin has, is dropped."""
        names = (name.strip().rstrip("/") for name in (listed or "").split(","))
        return cls(
            frozenset(name for name in names if name), re.compile(pattern) if pattern else None
        )

    def __bool__(self) -> bool:
        return bool(self.listed) or self.pattern is not None

    def allow(self, origin: str) -> bool:
        """Whether a page of this origin may call."""
        if "*" in self.listed or origin in self.listed:
            return True
        return self.pattern is not None and self.pattern.fullmatch(origin) is not None


@dataclass(frozen=True, slots=True)
class OriginGuard:
    """Middleware that answers 403 to what a foreign web page can post without asking first.

    A browser asks (preflights) before it posts JSON across origins; it does not before a post with
    no type or no body, such as `/interrupt`.
    """

    app: ASGIApp
    origins: Origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if origin is not None and not _is_json(headers) and self._foreign(origin, headers):
                detail = f"Origin {origin[:200]!r} is not allowed; see --cors-allow-origins"
                answer = JSONResponse(error_body("HTTPException", detail=detail), 403)
                return await answer(scope, receive, send)
        await self.app(scope, receive, send)

    def _foreign(self, origin: str, headers: Headers) -> bool:
        if origin == "null":
            return not self.origins.allow(origin)
        scheme, _, netloc = origin.partition("://")
        if scheme not in ("http", "https") or netloc == headers.get("host"):
            return False
        return not self.origins.allow(origin)


def _is_json(headers: Headers) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


def _path(scope: Scope) -> str:
    """The path below `--subpath`."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) or "/"
