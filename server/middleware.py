"""What every request passes on its way in and every reply on its way out."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

import structlog
from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .auth import Door, OriginGuard, Origins, Users
from .packing import Gzip
from .settings import Settings

MAX_BODY = 128 * 2**20
"""Bytes a request's body may have."""

Handler = Callable[[Request, Exception], Awaitable[Response]]

_TOLD_PAGES = ("X-Task-Id", "X-Darkroom-Warning", "X-Process-Time", "Retry-After")
"""Headers that a page of another origin may read."""

_FORM = "application/x-www-form-urlencoded"

_log = structlog.get_logger("server.api")


def install(app: FastAPI, settings: Settings) -> None:
    """Wrap `app`, from the inside out.

    curl's type, body limit, auth, origin guard, CORS, gzip, timing.
    """
    origins = Origins.of(settings.cors_allow_origins, settings.cors_allow_origins_regex)
    app.state.users = Users(settings.credentials)
    app.add_middleware(CurlJson)
    app.add_middleware(BodyLimit)
    if app.state.users:
        app.add_middleware(Door, users=app.state.users)
    app.add_middleware(OriginGuard, origins=origins)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(origins.listed),
            allow_origin_regex=settings.cors_allow_origins_regex,
            allow_methods=["*"],
            allow_headers=["*"],
            allow_credentials=True,
            allow_private_network=True,
            expose_headers=_TOLD_PAGES,
        )
        _tell_pages_of_faults(app, origins)
    app.add_middleware(Gzip)
    app.add_middleware(Timing, log=settings.api_log)


def _tell_pages_of_faults(app: FastAPI, origins: Origins) -> None:
    """Let the pages of `origins` read the answer to a fault, which passes no middleware."""
    told = cast(Handler, app.exception_handlers[Exception])

    async def readable(request: Request, error: Exception) -> Response:
        answer = await told(request, error)
        origin = request.headers.get("origin")
        if origin is not None and origins.allow(origin):
            answer.headers["Access-Control-Allow-Origin"] = origin
            answer.headers["Access-Control-Allow-Credentials"] = "true"
            answer.headers.add_vary_header("Origin")
        return answer

    app.add_exception_handler(Exception, readable)


@dataclass(frozen=True, slots=True)
class CurlJson:
    """Middleware that reads what `curl -d` posts to the API as the JSON it is.

    curl calls it a form, which the reference refuses (docs/adr/0004). A browser is still refused:
    it could post a form across origins without asking, and always names its origin.
    """

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # the one route that takes a form
        posted = scope["type"] == "http" and scope["method"] == "POST"
        if posted and not scope["path"].rstrip("/").endswith("/login"):
            headers = Headers(scope=scope)
            if headers.get("content-type", "") == _FORM and "origin" not in headers:
                named = [pair for pair in scope["headers"] if pair[0] != b"content-type"]
                scope = {**scope, "headers": [*named, (b"content-type", b"application/json")]}
        await self.app(scope, receive, send)


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """Middleware that answers 413 to a body over `MAX_BODY`, whether its length is told or not."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        told = Headers(scope=scope).get("content-length", "")
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if max(read, int(told) if told.isdecimal() else 0) > MAX_BODY:
                raise HTTPException(413, f"the body has more than {MAX_BODY} bytes")
            return message

        await self.app(scope, limited, send)


@dataclass(frozen=True, slots=True)
class Timing:
    """Middleware that sends `X-Process-Time` (seconds) and, with `log`, logs `/sdapi` calls."""

    app: ASGIApp
    log: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = time.perf_counter()

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                seconds = round(time.perf_counter() - started, 4)
                MutableHeaders(scope=message)["X-Process-Time"] = str(seconds)
                if self.log and scope["path"].startswith("/sdapi"):
                    _log_call(scope, message["status"], seconds)
            await send(message)

        await self.app(scope, receive, timed)


def _log_call(scope: Scope, status: int, seconds: float) -> None:
    _log.info(
        "api.call",
        status=status,
        http=scope["http_version"],
        method=scope["method"],
        path=scope["path"],
        client=(scope.get("client") or ("",))[0],
        seconds=seconds,
    )
