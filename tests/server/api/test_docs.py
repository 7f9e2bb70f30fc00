"""The description of the API: pages that need no other host, OpenAPI as the reference's."""

import json
import re
from typing import Any

import pytest
from starlette.testclient import TestClient

from server.app import create_app
from server.settings import parse

from ..wire import DATA, Wire

REFERENCE = json.loads((DATA / "openapi_reference.json").read_text("utf-8"))


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_pages_load_nothing_from_elsewhere(wire: Wire, page: str) -> None:
    text = wire.client.get(page).text
    links = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert links
    assert not re.search(r"https?://", text)
    for link in links:
        asset = wire.client.get(link)
        assert (asset.status_code, len(asset.content) > 1000) == (200, True)


def test_only_known_assets_are_served(wire: Wire) -> None:
    for name in ("LICENSE", "..%2fcore.py", "x.js"):
        assert wire.client.get(f"/docs/{name}").json() == {"detail": "Not Found"}


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The OpenAPI description of the whole app."""
    folder = tmp_path_factory.mktemp("data")
    app = create_app(parse(["--data-dir", str(folder)]))
    described: dict[str, Any] = TestClient(app).get("/openapi.json").json()
    return described


def resolved(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    """What a property's schema says of type and default."""
    if "$ref" in schema:
        schema = components[schema["$ref"].rpartition("/")[2]]
    return {key: schema[key] for key in ("type", "default") if key in schema}


@pytest.mark.parametrize("name", sorted(REFERENCE["schemas"]))
def test_schemas_name_and_type_what_the_references_do(
    description: dict[str, Any], name: str
) -> None:
    components = description["components"]["schemas"]
    ours, theirs = components[name]["properties"], REFERENCE["schemas"][name]["properties"]
    assert components[name].get("required") == REFERENCE["schemas"][name].get("required")
    for key, schema in theirs.items():
        if name == "Options" and (key not in ours or key.startswith("outdir_")):
            continue
        expected = resolved(schema, REFERENCE["schemas"])
        assert resolved(ours[key], components).items() >= expected.items(), key
    if name != "Options":
        assert list(ours) == list(theirs)


def test_routes_take_and_give_what_the_references_do(description: dict[str, Any]) -> None:
    paths = description["paths"]
    for path, methods in REFERENCE["routes"].items():
        for method, reference in methods.items():
            route = paths[path][method]
            reply = route["responses"]["200"]["content"]["application/json"]["schema"]
            assert reference["reply"].get("$ref") == reply.get("$ref")
            assert reference["reply"].get("items") == reply.get("items")
            body = route.get("requestBody", {}).get("content", {})
            body = body.get("application/json", {}).get("schema") or {}
            assert (reference["body"] or {}).get("$ref") == body.get("$ref")
