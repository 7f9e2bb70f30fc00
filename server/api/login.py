"""`POST /login`, by which clients of the webui's page log in, and `GET /login_check`."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from ..auth import COOKIE, Users
from ..errors import ApiError

router = APIRouter()

_MOST_FIELDS = 16
_LONGEST_FIELD = 4096
_FORM: Mapping[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "title": "Login",
                    "type": "object",
                    "required": ["username", "password"],
                    "properties": {
                        "username": {"title": "Username", "type": "string"},
                        "password": {"title": "Password", "type": "string"},
                    },
                }
            }
        },
    }
}


@router.post("/login/", include_in_schema=False)
@router.post("/login", openapi_extra=dict(_FORM))
async def login(request: Request) -> Response:
    """Give who knows a password a cookie for it; who need not log in is told that all is well.

    Raises `ApiError` (400) for a wrong password.
    """
    users: Users = request.app.state.users
    answer = JSONResponse({"success": True})
    if not users:
        return answer
    async with request.form(
        max_files=0, max_fields=_MOST_FIELDS, max_part_size=_LONGEST_FIELD
    ) as form:
        user, password = (_bytes(form.get(name)) for name in ("username", "password"))
    if not users.know(user, password):
        raise ApiError(400, "Incorrect credentials.")
    answer.set_cookie(
        COOKIE,
        users.cookie(user),
        path=request.scope.get("root_path") or "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return answer


@router.get("/login_check/", include_in_schema=False)
@router.get("/login_check")
async def login_check() -> None:
    """Answer whoever need not log in, or has; the others do not come this far."""


def _bytes(value: object) -> bytes:
    return value.encode("utf-8", "replace") if isinstance(value, str) else b""
