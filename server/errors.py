"""Every error body of the wire, and the one table of which exception answers with which status.

Three shapes: validation of a body or query (`{"detail": [{loc, msg, type}]}` in pydantic 1's
words), a wrong path or method (`{"detail": "Not Found"}`), and everything else
(`{"error": class, "detail": text, "body": "", "errors": text}`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from json import JSONDecodeError
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from extensions.binding import MissingScriptArgs
from extensions.protocol import BadScriptArgs, Missing
from extensions.wanted import NoPicture
from models.errors import ClipSkipOutOfRange, NoSpandrel
from pipelines.pictures.errors import BadPicture
from pipelines.plan import BadPlan
from pipelines.watch import Cancelled

from .imagecodec import BadImage, BadImageFormat, RemoteImage
from .option_rules import FrozenOption
from .options import BadOption
from .remote import BadAddress, LocalAddress, RequestsForbidden


class ApiError(Exception):
    """A deliberate answer: status and body are what the raiser says."""

    def __init__(
        self, status: int, detail: str = "", *, error: str = "HTTPException", errors: str = ""
    ) -> None:
        self.status = status
        self.body = error_body(error, detail=detail, errors=errors)
        super().__init__(detail or errors)


class UnknownCheckpoint(LookupError):
    """A checkpoint was asked for by a name that no file here has."""

    def __init__(self, name: str) -> None:
        super().__init__(f"model {name!r} not found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How an exception is told to a client: the class name it has there, and its text.

    Without `error` it is told by its own name, without `detail` by its own message as `errors`.
    """

    status: int
    error: str = ""
    detail: str = ""


ANSWERS: Mapping[type[Exception], Answer] = MappingProxyType(
    {
        UnknownCheckpoint: Answer(status=500, error="RuntimeError"),
        FrozenOption: Answer(status=500, error="AssertionError"),
        BadPlan: Answer(status=422),
        # read only where another client cancelled the job: its own has gone else
        Cancelled: Answer(status=499),
        BadPicture: Answer(status=422),
        BadScriptArgs: Answer(status=422),
        Missing: Answer(status=404),
        NoSpandrel: Answer(status=404, error="Missing"),
        MissingScriptArgs: Answer(status=500, error="TypeError"),
        ClipSkipOutOfRange: Answer(status=422, error="IndexError"),
        BadImage: Answer(status=500, error="HTTPException", detail="Invalid encoded image"),
        NoPicture: Answer(status=500, error="HTTPException", detail="Invalid encoded image"),
        RemoteImage: Answer(status=500, error="HTTPException", detail="Requests not allowed"),
        RequestsForbidden: Answer(status=500, error="HTTPException", detail="Requests not allowed"),
        LocalAddress: Answer(
            status=500, error="HTTPException", detail="Request to local resource not allowed"
        ),
        BadAddress: Answer(status=500, error="HTTPException", detail="Invalid image url"),
        BadImageFormat: Answer(status=500, error="HTTPException", detail="Invalid image format"),
    }
)
"""Exceptions with an answer of their own; any other is a 500 under its own name."""

_PYDANTIC_1: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "missing": ("value_error.missing", "field required"),
        "model_type": ("type_error.dict", "value is not a valid dict"),
        "model_attributes_type": ("type_error.dict", "value is not a valid dict"),
        "dict_type": ("type_error.dict", "value is not a valid dict"),
        "list_type": ("type_error.list", "value is not a valid list"),
        "string_type": ("type_error.str", "str type expected"),
        "bool_type": ("type_error.bool", "value could not be parsed to a boolean"),
        "bool_parsing": ("type_error.bool", "value could not be parsed to a boolean"),
        "int_type": ("type_error.integer", "value is not a valid integer"),
        "int_parsing": ("type_error.integer", "value is not a valid integer"),
        "int_from_float": ("type_error.integer", "value is not a valid integer"),
        "float_type": ("type_error.float", "value is not a valid float"),
        "float_parsing": ("type_error.float", "value is not a valid float"),
    }
)
"""pydantic 2's error types -> pydantic 1's type and wording."""

_CONTEXT: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"value_error.const": ("given", "permitted")}
)
"""What is told beside an error's message, where it is not the limit."""

_SHOWN_DOCUMENT = 200
"""Characters of an unreadable body that are sent back."""


def error_body(error: str, *, detail: str = "", errors: str = "") -> dict[str, str]:
    """The body of every error that is neither validation nor a wrong path."""
    return {"error": error, "detail": detail, "body": "", "errors": errors}


def install(app: FastAPI) -> None:
    """Make `app` answer every exception in the wire's shapes."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ApiError, _deliberate)
    app.add_exception_handler(BadOption, _bad_option)
    for exception in ANSWERS:
        app.add_exception_handler(exception, _from_table)
    app.add_exception_handler(Exception, _unexpected)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if isinstance(error.__cause__, JSONDecodeError):
        return _details(422, [_json_error(error.__cause__)])
    return _details(422, [_pydantic_1(each) for each in error.errors()])


async def _http(_: Request, error: Exception) -> Response:
    """What the framework raises: a wrong path or method, a body too large or unreadable."""
    assert isinstance(error, HTTPException)
    if error.status_code in (404, 405):
        return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
    if error.status_code == 400 and isinstance(error.__cause__, ValueError | RecursionError):
        return _details(422, [_unreadable(error.__cause__)])
    return JSONResponse(
        error_body("HTTPException", detail=str(error.detail)), error.status_code, error.headers
    )


async def _deliberate(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body, error.status)


async def _bad_option(_: Request, error: Exception) -> Response:
    assert isinstance(error, BadOption)
    return _details(
        422, [{"loc": ["body", error.key], "msg": str(error), "type": "value_error.option"}]
    )


async def _from_table(_: Request, error: Exception) -> Response:
    answer = next(ANSWERS[each] for each in type(error).__mro__ if each in ANSWERS)
    name = answer.error or type(error).__name__
    errors = "" if answer.detail else str(error)
    return JSONResponse(error_body(name, detail=answer.detail, errors=errors), answer.status)


async def _unexpected(_: Request, error: Exception) -> Response:
    return JSONResponse(error_body(type(error).__name__, errors=str(error)), 500)


def _details(status: int, errors: list[dict[str, Any]]) -> Response:
    return JSONResponse({"detail": errors}, status)


def _pydantic_1(error: Mapping[str, Any]) -> dict[str, Any]:
    no_body = error["loc"] == ("body",) and error["input"] is None
    pydantic_2 = "missing" if no_body else error["type"]
    kind, message = _PYDANTIC_1.get(pydantic_2, (error["type"], error["msg"]))
    told = {"loc": list(error["loc"]), "msg": message, "type": kind}
    context = error.get("ctx", {})
    shown = {key: context[key] for key in _CONTEXT.get(kind, ("limit_value",)) if key in context}
    return {**told, "ctx": shown} if shown else told


def _json_error(error: JSONDecodeError) -> dict[str, Any]:
    at = {"pos": error.pos, "lineno": error.lineno, "colno": error.colno}
    start = max(0, error.pos - _SHOWN_DOCUMENT // 2)
    shown = error.doc[start : start + _SHOWN_DOCUMENT].encode(errors="replace").decode()
    return {
        "loc": ["body", error.pos],
        "msg": str(error),
        "type": "value_error.jsondecode",
        "ctx": {"msg": error.msg, "doc": shown, **at},
    }


def _unreadable(error: Exception) -> dict[str, Any]:
    """JSON that Python's reader gives up on: too deep, not UTF-8, or a number of 5000 digits."""
    reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    return {
        "loc": ["body"],
        "msg": f"not readable JSON: {reason}",
        "type": "value_error.jsondecode",
    }
