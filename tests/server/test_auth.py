"""Credentials: asked for everywhere, compared whole, ignored where none are configured."""

import base64
from pathlib import Path

import pytest

from server.auth import Users

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
        "auth_none_post_txt2img",
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


@pytest.mark.parametrize("name", ["auth_ok", "auth_ok_second_user"])
def test_accepts_as_the_reference(guarded: Wire, name: str) -> None:
    record = recorded(name)
    answer = guarded.ask({**record, "path": "/sdapi/v1/samplers"})
    assert answer.status_code == record["status"]


@pytest.mark.parametrize(
    "name", ["auth_none_404", "auth_none_docs", "auth_none_loras", "auth_none_openapi"]
)
def test_asks_where_the_reference_forgets_to(guarded: Wire, name: str) -> None:
    """On purpose: see docs/deviations.md."""
    record = recorded(name)
    assert record["status"] in (200, 404)
    assert guarded.ask(record).status_code == 401


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
             "/internal/ping/", "/internal/ping2", "/nope", "/login_check", "/loginx"]
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


@pytest.mark.parametrize(
    "header", ["", "Basic ", "Bearer undefined", "Basic !!!", "Basic dW5kZWZpbmVkOnVuZGVmaW5lZA=="]
)
def test_credentials_are_ignored_on_an_open_server(wire: Wire, header: str) -> None:
    answer = wire.client.get("/sdapi/v1/samplers", headers={"Authorization": header})
    assert answer.status_code == 200


def test_users_of_the_page_may_call_and_nobody_else(tmp_path: Path) -> None:
    client = build(tmp_path, ["--gradio-auth", "ann:1"]).client
    assert client.get("/sdapi/v1/samplers").status_code == 401
    assert client.get("/sdapi/v1/samplers", auth=("ann", "1")).status_code == 200


def test_a_name_signed_by_another_process_is_no_cookie() -> None:
    users, others = Users((("ann", "1"),)), Users((("ann", "1"),))
    assert users.know_cookie(users.cookie(b"ann"))
    forged = [
        others.cookie(b"ann"),
        users.cookie(b"ann").replace(b"ann".hex(), b"bob".hex()),
        users.cookie(b"ann").upper(),
        f" {users.cookie(b'ann')}",
        users.cookie(b"ann")[:-1],
        "",
        ".",
        "zz.zz",
        "\xe9.\xe9",
    ]
    assert [users.know_cookie(each) for each in forged] == [False] * len(forged)
    assert repr(users.key) not in repr(users)
