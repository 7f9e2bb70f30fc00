"""`/login` and `/login_check`, as AIYA and sd-backend-client call them."""

from pathlib import Path
from typing import Any

import pytest

from server.auth import COOKIE

from ..wire import Wire
from ..wire import wire as build

RIGHT = {"username": "bob", "password": "p\u00e4ss w0rd&=+"}
SAMPLERS = "/sdapi/v1/samplers"


@pytest.fixture
def guarded(tmp_path: Path) -> Wire:
    """An app with two users."""
    return build(tmp_path, ["--api-auth", f"ann:1,bob:{RIGHT['password']}"])


@pytest.mark.parametrize("path", ["/login", "/login/"])
def test_a_login_opens_every_route(guarded: Wire, path: str) -> None:
    assert guarded.client.get("/login_check").status_code == 401
    assert guarded.client.get(SAMPLERS).status_code == 401

    answer = guarded.client.post(path, data=RIGHT, follow_redirects=False)

    assert (answer.status_code, answer.json()) == (200, {"success": True})
    told = answer.headers["set-cookie"].lower()
    assert told.startswith(f"{COOKIE}=")
    assert {"httponly", "path=/", "samesite=lax"} <= set(told.split("; "))
    assert "secure" not in told
    for open_now in (SAMPLERS, "/docs", "/openapi.json", "/login_check", "/login_check/"):
        assert guarded.client.get(open_now).status_code == 200
    assert guarded.client.get("/login_check").json() is None
    assert guarded.client.post("/sdapi/v1/options", json={}).status_code == 200


def test_a_cookie_holds_beside_a_stale_password(guarded: Wire) -> None:
    guarded.client.post("/login", data=RIGHT)
    assert guarded.client.get(SAMPLERS, auth=("bob", "old")).status_code == 200
    headers = {"Cookie": f"theme=dark; bad name; {COOKIE}={guarded.client.cookies[COOKIE]}"}
    guarded.client.cookies.clear()
    assert guarded.client.get(SAMPLERS, headers=headers).status_code == 200
    assert guarded.client.get(SAMPLERS, headers={"Cookie": f"{COOKIE}=x.y"}).status_code == 401


def test_multipart_will_do(guarded: Wire) -> None:
    fields: dict[str, Any] = {name: (None, value) for name, value in RIGHT.items()}
    assert guarded.client.post("/login", files=fields).json() == {"success": True}


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"username": "bob"},
        {"username": "bob", "password": "1"},
        {"username": "", "password": ""},
        {"username": "x" * 3000, "password": "x"},
    ],
    ids=range(5),
)
def test_wrong_passwords_get_no_cookie(guarded: Wire, form: dict[str, str]) -> None:
    answer = guarded.client.post("/login", data=form)
    assert (answer.status_code, answer.json()["detail"]) == (400, "Incorrect credentials.")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "application/x-www-form-urlencoded"),
        (b"\xff\0%zz&&&=;", "application/x-www-form-urlencoded"),
        (b"a=1&" * 100, "application/x-www-form-urlencoded"),
        (b"username=" + b"x" * 5000, "application/x-www-form-urlencoded"),
        (b"--x", "multipart/form-data"),
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x"),
        (b'{"username": "ann", "password": "1"}', "application/json"),
        (b"\xed\xa0\x80", ""),
    ],
    ids=range(8),
)
def test_odd_forms_are_refused(guarded: Wire, body: bytes, kind: str) -> None:
    answer = guarded.client.post("/login", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]) == (400, "HTTPException")


def test_a_foreign_page_cannot_log_its_visitor_in(guarded: Wire) -> None:
    headers = {"Origin": "http://page.example"}
    answer = guarded.client.post("/login", data=RIGHT, headers=headers)
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


@pytest.mark.parametrize("form", [RIGHT, {}])
def test_an_open_server_lets_everybody_in(wire: Wire, form: dict[str, str]) -> None:
    answer = wire.client.post("/login", data=form)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert wire.client.get("/login_check").status_code == 200
    assert "set-cookie" not in answer.headers


def test_over_https_the_cookie_stays_there(guarded: Wire) -> None:
    answer = guarded.client.post("https://testserver/login", data=RIGHT)
    assert "; secure" in answer.headers["set-cookie"].lower()
