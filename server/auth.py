"""Who may call: a password or a login's cookie for every path; no writing from foreign pages."""

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import error_body

OPEN_PATHS = frozenset({"/internal/ping", "/login", "/login/"})
"""Paths that answer without credentials: a sign of life, and the way in."""

COOKIE = "darkroom-session"
"""The cookie of a login; it opens every path until the server stops."""

_CHALLENGE: Mapping[str, str] = {"WWW-Authenticate": 'Basic realm="darkroom", charset="UTF-8"'}
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Users:
    """Who may call, by name and password; without any, anybody may.

    A login is remembered by the client alone: its cookie is the user's name, signed with a key that
    this process made.
    """

    pairs: tuple[tuple[str, str], ...] = ()
    key: bytes = field(default_factory=lambda: secrets.token_bytes(_KEY_BYTES), repr=False)

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def know(self, user: bytes, password: bytes) -> bool:
        """Compare with every pair in constant time, whether or not an earlier one matched."""
        matches = [
            hmac.compare_digest(user, name.encode())
            & hmac.compare_digest(password, secret.encode())
            for name, secret in self.pairs
        ]
        return any(matches)

    def cookie(self, user: bytes) -> str:
        """What a client that logged in as `user` shows from then on."""
        return f"{user.hex()}.{hmac.digest(self.key, user, 'sha256').hex()}"

    def know_cookie(self, shown: str) -> bool:
        """Whether `cookie` made it."""
        try:
            user = bytes.fromhex(shown.partition(".")[0])
        except ValueError:
            return False
        return hmac.compare_digest(shown.encode(), self.cookie(user).encode())


@dataclass(frozen=True, slots=True)
class Door:
    """Middleware that answers 401 to every request that shows neither password nor cookie."""

    app: ASGIApp
    users: Users

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _path(scope) in OPEN_PATHS:
            return await self.app(scope, receive, send)
        caller = HTTPConnection(scope)
        if self.users.know_cookie(caller.cookies.get(COOKIE, "")):
            return await self.app(scope, receive, send)
        refusal = self._refusal(caller.headers.get("authorization", ""))
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
        return None if self.users.know(user, password) else "Incorrect username or password"


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
