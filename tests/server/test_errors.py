"""Error bodies, beside what the reference answered."""

import json
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from models.errors import NoSpandrel
from server import errors

from .wire import DATA, Wire, recorded

REFUSALS = json.loads((DATA / "txt2img_refusals.json").read_text("utf-8"))
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "name",
    [
        "err_txt2img_no_body",
        "err_txt2img_invalid_json",
        "err_txt2img_json_array",
        "err_txt2img_json_null",
        "err_txt2img_form_content_type",
        "err_options_not_object",
        "err_options_unknown_model",
        "err_pnginfo_bad",
        "err_pnginfo_empty",
        "err_pnginfo_missing",
        "get_other_sdapi_v1_nope",
        "method_not_allowed_get_txt2img",
        "method_not_allowed_post_samplers",
    ],
)
def test_answers_as_the_reference(wire: Wire, name: str) -> None:
    record = recorded(name)
    answer = wire.ask(record)
    assert (answer.status_code, answer.json()) == (record["status"], record["response"])
    assert answer.headers.get("allow") == record["response_headers"].get("allow")


@pytest.mark.parametrize("case", REFUSALS, ids=[case["name"] for case in REFUSALS])
def test_refuses_as_the_reference(wire: Wire, case: dict[str, Any]) -> None:
    answer = wire.client.post("/sdapi/v1/txt2img", json=case["request"])
    assert (answer.status_code, answer.json()) == (422, case["response"])


def test_head_is_not_allowed_on_routes_of_the_api(wire: Wire) -> None:
    record = recorded("head_samplers")
    answer = wire.ask(record)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize(
    ("body", "place", "message"),
    [
        (b"[" * 10**5, ["body"], "not readable JSON: nested too deeply"),
        (b'{"a":' * 10**5, ["body"], "not readable JSON: nested too deeply"),
        (b'{"prompt": "\xff"}', ["body"], "not readable JSON: 'utf-8' codec can't decode byte"),
        (b'{"seed": ' + b"9" * 5000 + b"}", ["body"], "not readable JSON: Exceeds the limit"),
        (b'{"seed": 1e999}', ["body", "seed"], "value is not a valid integer"),
        (b'{"cfg_scale": NaN}', ["body", "cfg_scale"], "ensure this value is a finite number"),
        (b'{"prompt": "\\ud800"}', ["body", "prompt"], "text with a lone surrogate"),
        (b'{"styles": [{}]}', ["body", "styles", 0], "str type expected"),
        (b'{"seed": 1, "seed": "x"}', ["body", "seed"], "value is not a valid integer"),
        (b'"text"', ["body"], "value is not a valid dict"),
    ],
)
def test_unreadable_bodies(wire: Wire, body: bytes, place: list[object], message: str) -> None:
    answer = wire.client.post("/sdapi/v1/txt2img", content=body, headers=JSON)
    assert answer.status_code == 422
    (error,) = answer.json()["detail"]
    assert error["loc"] == place
    assert error["msg"].startswith(message)


def test_a_long_unreadable_body_is_not_sent_back_whole(wire: Wire) -> None:
    body = b'{"prompt": "' + b"x" * 10**6 + b'" !}'
    answer = wire.client.post("/sdapi/v1/txt2img", content=body, headers=JSON)
    error = answer.json()["detail"][0]
    assert error["loc"] == ["body", 10**6 + 14]
    assert error["ctx"]["doc"].endswith('x" !}')
    assert len(answer.content) < 1000


def test_limits_are_named(wire: Wire) -> None:
    answer = wire.client.post("/sdapi/v1/txt2img", json={"width": 100_000})
    assert answer.json() == {
        "detail": [
            {
                "loc": ["body", "width"],
                "msg": "ensure this value is less than or equal to 8192 (got 100000)",
                "type": "value_error.number.not_le",
                "ctx": {"limit_value": 8192},
            }
        ]
    }


def test_a_fault_of_ours_is_told_by_its_class(wire: Wire) -> None:
    answer = wire.client.post("/broken")
    assert answer.status_code == 500
    assert answer.json() == {"error": "KeyError", "detail": "", "body": "", "errors": "'x'"}


def test_addresses_in_place_of_pictures(wire: Wire) -> None:
    answer = wire.client.post("/sdapi/v1/png-info", json={"image": "http://127.0.0.1/x.png"})
    assert (answer.status_code, answer.json()["detail"]) == (
        500,
        "Request to local resource not allowed",
    )


def test_a_missing_content_type_is_json(wire: Wire) -> None:
    answer = wire.client.post("/sdapi/v1/txt2img", content=b'{"prompt": "x"}')
    assert "content-type" not in answer.request.headers
    assert answer.json()["parameters"]["prompt"] == "x"


def test_form_content_is_refused(wire: Wire) -> None:
    origin = {"Origin": "http://testserver"}
    answer = wire.client.post("/sdapi/v1/txt2img", data={"prompt": "x"}, headers=origin)
    assert answer.json()["detail"][0]["type"] == "type_error.dict"


async def test_a_package_that_is_not_installed_is_told_with_how_to_get_it() -> None:
    app = FastAPI()
    errors.install(app)

    @app.get("/broken")
    async def broken() -> None:
        raise NoSpandrel

    answer = TestClient(app).get("/broken")
    assert answer.status_code == 404
    told = answer.json()
    assert told["error"] == "Missing"
    assert "spandrel is not installed; ./launch.sh install" in told["errors"]
