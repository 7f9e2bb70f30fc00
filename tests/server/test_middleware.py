"""What every call passes: body limit, CORS, the origin guard, gzip, timing, the call log."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from server import middleware

from .wire import Wire, recorded
from .wire import wire as build

PAGE = "http://page.example"


def test_every_answer_is_timed(wire: Wire) -> None:
    for path in ("/internal/ping", "/nope"):
        assert 0 <= float(wire.client.get(path).headers["x-process-time"]) < 5


def test_large_answers_are_compressed_for_those_who_can(wire: Wire) -> None:
    packed = wire.client.get("/sdapi/v1/options")
    plain = wire.client.get("/sdapi/v1/options", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.json() == plain.json()
    assert "content-encoding" not in wire.client.get("/internal/ping").headers


@pytest.mark.parametrize("told", [True, False])
def test_a_body_over_the_limit_is_refused(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    monkeypatch.setattr(middleware, "MAX_BODY", 1000)

    def chunks() -> Iterator[bytes]:
        yield from [b"x" * 100] * 11

    body = b"x" * 1100 if told else chunks()
    answer = wire.client.post(
        "/sdapi/v1/txt2img", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413
    assert answer.json()["detail"] == "the body has more than 1000 bytes"
    assert wire.client.post("/sdapi/v1/txt2img", json={"prompt": "x" * 900}).status_code == 200


def test_no_origin_is_allowed_unless_listed(wire: Wire, tmp_path: Path) -> None:
    answer = wire.client.get("/sdapi/v1/samplers", headers={"Origin": PAGE})
    assert "access-control-allow-origin" not in answer.headers
    for flags in (
        ["--cors-allow-origins", f"http://a.example, {PAGE}/"],
        ["--cors-allow-origins-regex", r"http://[a-z]+\.example"],
    ):
        client = build(tmp_path, flags).client
        answer = client.get("/sdapi/v1/samplers", headers={"Origin": PAGE})
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["access-control-allow-credentials"] == "true"
        other = client.get("/sdapi/v1/samplers", headers={"Origin": "http://b.other"})
        assert "access-control-allow-origin" not in other.headers


def test_errors_may_be_read_by_listed_pages_alone(tmp_path: Path) -> None:
    client = build(tmp_path, ["--cors-allow-origins", PAGE]).client
    for path in ("/broken", "/nope", "/sdapi/v1/txt2img"):
        body = {"steps": "many"}
        answer = client.post(path, json=body, headers={"Origin": PAGE})
        assert answer.status_code in (404, 422, 500)
        assert answer.headers["access-control-allow-origin"] == PAGE
        other = client.post(path, json=body, headers={"Origin": "http://b.other"})
        assert other.status_code == answer.status_code
        assert "access-control-allow-origin" not in other.headers


def test_pages_may_read_our_own_headers(tmp_path: Path) -> None:
    client = build(tmp_path, ["--cors-allow-origins", PAGE]).client
    answer = client.get("/sdapi/v1/samplers", headers={"Origin": PAGE})
    exposed = answer.headers["access-control-expose-headers"]
    assert {"X-Task-Id", "X-Darkroom-Warning"} <= set(exposed.split(", "))


@pytest.mark.parametrize("name", ["options_method_txt2img", "head_samplers"])
def test_without_a_preflight_these_methods_are_not_allowed(wire: Wire, name: str) -> None:
    record = recorded(name)
    answer = wire.ask(record)
    assert (answer.status_code, answer.headers["allow"]) == (
        405,
        record["response_headers"]["allow"],
    )


def test_every_route_answers_a_preflight(tmp_path: Path) -> None:
    client = build(tmp_path, ["--cors-allow-origins", f"{PAGE}/"]).client
    routes = client.get("/openapi.json").json()["paths"]
    for path in (*routes, "/sdapi/v1/options/", "/sdapi/v1/extra-single-image/"):
        asked = {
            "Origin": PAGE,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
            "Access-Control-Request-Private-Network": "true",
        }
        answer = client.options(path, headers=asked)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, PAGE)
        assert answer.headers["access-control-allow-private-network"] == "true"
        refused = client.options(path, headers=asked | {"Origin": "http://b.other"})
        assert refused.status_code == 400


@pytest.mark.parametrize(
    "path", ["//sdapi/v1/options", "/sdapi//v1/options", "/sdapi/v1/options;x"]
)
def test_paths_are_taken_as_they_are(wire: Wire, path: str) -> None:
    answer = wire.client.get(f"http://testserver{path}")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


def test_the_front_page_can_be_probed(wire: Wire) -> None:
    assert wire.client.head("/").status_code == wire.client.get("/").status_code == 200


def test_preflight_needs_no_credentials_and_redirects_carry_cors(tmp_path: Path) -> None:
    client = build(tmp_path, ["--cors-allow-origins", PAGE, "--api-auth", "u:p"]).client
    asked = client.options(
        "/sdapi/v1/options",
        headers={
            "Origin": PAGE,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type, authorization",
        },
    )
    assert asked.status_code == 200
    assert "POST" in asked.headers["access-control-allow-methods"]
    answer = client.post(
        "/sdapi/v1/options/",
        json={},
        headers={"Origin": PAGE},
        auth=("u", "p"),
        follow_redirects=False,
    )
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (307, PAGE)


@pytest.mark.parametrize("origin", [PAGE, "null", "https://testserver.evil"])
def test_foreign_pages_cannot_post_without_asking(wire: Wire, origin: str) -> None:
    refused = wire.client.post("/sdapi/v1/refresh-checkpoints", headers={"Origin": origin})
    assert (refused.status_code, wire.shelf.scans) == (403, 0)
    assert repr(origin) in refused.json()["detail"]
    typeless = wire.client.post(
        "/sdapi/v1/options", content=b'{"tiling": true}', headers={"Origin": origin}
    )
    assert typeless.status_code == 403
    asked = wire.client.post("/sdapi/v1/options", json={}, headers={"Origin": origin})
    assert asked.status_code == 200


@pytest.mark.parametrize("origin", [None, "http://testserver", "app://obsidian.md"])
def test_own_pages_and_programs_can(wire: Wire, origin: str | None) -> None:
    headers = {"Origin": origin} if origin else {}
    wire.client.post("/sdapi/v1/refresh-checkpoints", headers=headers)
    assert wire.shelf.scans == 1


def test_listed_pages_can(tmp_path: Path) -> None:
    wire = build(tmp_path, ["--cors-allow-origins", PAGE])
    wire.client.post("/sdapi/v1/refresh-checkpoints", headers={"Origin": PAGE})
    wire.client.post("/sdapi/v1/refresh-checkpoints", headers={"Origin": "http://b.other"})
    assert wire.shelf.scans == 1


def test_calls_are_logged_on_request(tmp_path: Path) -> None:
    for flags, logged in (([], 0), (["--api-log"], 1)):
        client = build(tmp_path, flags).client
        with capture_logs() as logs:
            client.get("/sdapi/v1/samplers")
            client.get("/internal/ping")
        assert len(logs) == logged
    (line,) = logs
    assert (line["status"], line["method"], line["path"]) == (200, "GET", "/sdapi/v1/samplers")


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_curl_need_not_name_the_type(wire: Wire) -> None:
    answer = wire.client.post("/sdapi/v1/txt2img", content=b'{"steps": 7}', headers=FORM)
    assert answer.status_code == 200
    assert answer.json()["parameters"]["steps"] == 7
    refused = wire.client.post("/sdapi/v1/txt2img", content=b"steps=7", headers=FORM)
    assert refused.json()["detail"][0]["type"] == "value_error.jsondecode"


def test_a_page_cannot_post_a_form(wire: Wire) -> None:
    for origin, status in ((PAGE, 403), ("http://testserver", 422)):
        headers = FORM | {"Origin": origin}
        answer = wire.client.post("/sdapi/v1/txt2img", content=b'{"steps": 7}', headers=headers)
        assert answer.status_code == status
        assert "parameters" not in answer.json()
