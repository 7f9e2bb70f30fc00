"""Credentials: asked for everywhere, compared whole, ignored where none are configured."""

import base64
from pathlib import Path

import pytest

from .wire import Wire, recorded
from .wire import wire as build


@pytest.fixture
def guarded(tmp_path: Path) -> Wire:
    """An app with the two users of the recordings."""
    return build(tmp_path, ["--api-auth", "user:secret,bob:pw1"])


@pytest.mark.parametrize(
    "name",
    [
        "auth_bearer",
        "auth_garbage",
        "auth_none_get_samplers",
        "auth_wrong_password",
        "auth_wrong_user",
    ],
)
def test_refuses_as_the_reference(guarded: Wire, name: str) -> None:
    record = recorded(name)
    answer = guarded.ask(record)
    assert (answer.status_code, answer.json()) == (401, record["response"])
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert "x-process-time" in answer.headers


@pytest.mark.parametrize("user", [("user", "secret"), ("bob", "pw1")])
def test_every_user_may_call(guarded: Wire, user: tuple[str, str]) -> None:
    answer = guarded.client.get("/sdapi/v1/samplers", auth=user)
    assert [each["name"] for each in answer.json()][:1] == ["DPM++ 2M"]


@pytest.mark.parametrize(
    "user", [("user", "pw1"), ("user", "secret,bob:pw1"), ("", ""), ("user", "")]
)
def test_mixed_up_credentials_are_wrong(guarded: Wire, user: tuple[str, str]) -> None:
    answer = guarded.client.get("/sdapi/v1/samplers", auth=user)
    assert answer.json()["detail"] == "Incorrect username or password"


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/docs/swagger-ui.css", "/redoc", "/openapi.json", "/sdapi/v1/loras",
             "/internal/ping/", "/internal/ping2", "/nope"]
)  # fmt: skip
def test_every_path_asks(guarded: Wire, path: str) -> None:
    assert guarded.client.get(path, follow_redirects=False).status_code == 401


def test_ping_does_not_ask(guarded: Wire) -> None:
    assert guarded.client.get("/internal/ping").json() == {}


@pytest.mark.parametrize(
    "header",
    [b"", b"Basic", b"Basic ", b"Basic \xff\xfe", b"Basic " + b"A" * 60_000, b"basic Og==\0",
     b"Basic " + base64.b64encode(b"nocolon"), b"Digest x"],
    ids=range(8),
)  # fmt: skip
def test_malformed_headers_are_refused(guarded: Wire, header: bytes) -> None:
    answer = guarded.client.get("/sdapi/v1/samplers", headers={b"Authorization": header})
    assert answer.status_code == 401
    assert answer.json()["error"] == "HTTPException"


@pytest.mark.parametrize("header", ["", "Basic ", "Bearer undefined", "Basic !!!"])
def test_credentials_are_ignored_on_an_open_server(wire: Wire, header: str) -> None:
    answer = wire.client.get("/sdapi/v1/samplers", headers={"Authorization": header})
    assert answer.status_code == 200
