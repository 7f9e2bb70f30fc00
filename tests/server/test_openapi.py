"""Our description of the API beside that of webui v1.10.1: nothing of theirs is missing."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from starlette.testclient import TestClient

from server.app import create_app
from server.settings import parse

from .wire import DATA

REFERENCE: dict[str, Any] = json.loads((DATA / "openapi.json").read_text("utf-8"))
#: the routes that the reference has with its page and `--api-server-stop`, and their schemas
WITH_PAGE: dict[str, Any] = json.loads((DATA / "openapi_with_ui.json").read_text("utf-8"))

Schema = Mapping[str, Any]
#: settings of the reference that hold a text of its page, for which we have our own words
WORDS = ("infotext_explanation", "profiling_explanation", "sd_vae_explanation", "settings_in_ui")
TELLING = ("type", "default", "format", "minimum", "maximum", "exclusiveMinimum", "enum")


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The description of the whole app."""
    folder = tmp_path_factory.mktemp("data")
    app = create_app(parse(["--data-dir", str(folder), "--api-server-stop"]))
    described: dict[str, Any] = TestClient(app).get("/openapi.json").json()
    return described


@pytest.mark.parametrize("reference", [REFERENCE, WITH_PAGE], ids=["api", "with_page"])
def test_nothing_of_the_reference_is_missing(
    described: dict[str, Any], reference: dict[str, Any]
) -> None:
    missing = list(differences(described, reference))
    told = f"{len(reference['paths'])} paths compared, {len(missing)} differences"
    assert not missing, "\n".join([told, *missing])


def test_schemas_have_the_references_names_and_orders(described: dict[str, Any]) -> None:
    ours = described["components"]["schemas"]
    for name, schema in REFERENCE["components"]["schemas"].items():
        wanted = list(schema["properties"])
        assert name in ours
        assert ours[name].get("required") == schema.get("required"), name
        if name not in ("Flags", "Options"):
            assert [key for key in ours[name]["properties"] if key in wanted] == wanted, name


def test_routes_take_and_give_schemas_of_the_references_names(described: dict[str, Any]) -> None:
    for path, methods in REFERENCE["paths"].items():
        for method, route in methods.items():
            for get in (_body, _reply):
                wanted = get(route)
                here = get(described["paths"][path][method])
                if wanted:
                    assert here.get("$ref") == wanted.get("$ref"), path
                    assert here.get("items") == wanted.get("items"), path


def test_the_comparison_finds_what_is_missing(described: dict[str, Any]) -> None:
    less = json.loads(json.dumps(described))
    schemas = less["components"]["schemas"]
    del less["paths"]["/sdapi/v1/loras"]
    del less["paths"]["/sdapi/v1/options"]["post"]
    schemas["SDModelItem"]["properties"].pop("config")
    schemas["StableDiffusionProcessingTxt2Img"]["properties"]["steps"]["default"] = 20
    schemas["EmbeddingItem"]["properties"]["shape"]["type"] = "string"
    assert sorted(differences(less, REFERENCE)) == [
        "get /sdapi/v1/embeddings 200 loaded{}.shape: type 'string', not 'integer'",
        "get /sdapi/v1/embeddings 200 skipped{}.shape: type 'string', not 'integer'",
        "get /sdapi/v1/loras is missing",
        "get /sdapi/v1/sd-models 200 [].config is missing",
        "post /sdapi/v1/options is missing",
        "post /sdapi/v1/txt2img body steps: default 20, not 50",
    ]


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[str]:
    """What of `theirs` is missing or other in `ours`, a line each."""
    for path, methods in theirs["paths"].items():
        for method, route in methods.items():
            name = f"{method} {path}"
            here = ours["paths"].get(path, {}).get(method)
            if here is None:
                yield f"{name} is missing"
                continue
            comparison = Comparison(ours["components"]["schemas"], theirs["components"]["schemas"])
            yield from comparison.parameters(f"{name} query", here, route)
            for part, get in (("body", _body), ("200", _reply)):
                yield from comparison.schema(f"{name} {part}", get(here), get(route))


class Comparison:
    """Two descriptions' schemas, followed side by side."""

    def __init__(self, ours: Schema, theirs: Schema) -> None:
        self._ours, self._theirs = ours, theirs

    def parameters(self, at: str, ours: Schema, theirs: Schema) -> Iterator[str]:
        """Compare what stands in the query."""
        here = {each["name"]: each["schema"] for each in ours.get("parameters", ())}
        for each in theirs.get("parameters", ()):
            if each["name"] not in here:
                yield f"{at} {each['name']} is missing"
            else:
                yield from self.schema(f"{at} {each['name']}", here[each["name"]], each["schema"])

    def schema(self, at: str, ours: Schema, theirs: Schema) -> Iterator[str]:
        """Compare types, defaults, limits and properties; `{}` there allows anything here."""
        ours, theirs = _resolved(ours, self._ours), _resolved(theirs, self._theirs)
        for key in TELLING:
            if (
                key in theirs
                and ours.get(key, ...) != theirs[key]
                and not _example(at, theirs[key])
            ):
                yield f"{at}: {key} {ours.get(key)!r}, not {theirs[key]!r}"
        if "properties" in theirs:
            stricter = set(ours.get("required", ())) - set(theirs.get("required", ()))
            yield from (f"{at}: {key} is required" for key in sorted(stricter))
        for key, wanted in theirs.get("properties", {}).items():
            there = f"{at}.{key}" if at.endswith(("]", "}")) else f"{at} {key}"
            if key not in ours.get("properties", {}):
                yield f"{there} is missing"
            else:
                yield from self.schema(there, ours["properties"][key], wanted)
        if theirs.get("items"):
            yield from self.schema(f"{at} []", ours.get("items", {}), theirs["items"])
        if theirs.get("additionalProperties"):
            inner = ours.get("additionalProperties", {})
            yield from self.schema(f"{at}{{}}", inner, theirs["additionalProperties"])


def _example(at: str, value: object) -> bool:
    """Whether it is a folder of the recorded server, or a text of its page."""
    first = value[0] if isinstance(value, list) and value else value
    folder = isinstance(first, str) and first.startswith(("/", "./"))
    words = at.rpartition(" ")[2] in WORDS and isinstance(value, str) and " " in value
    return folder or words


def _body(route: Schema) -> Schema:
    body: Schema = route.get("requestBody", {}).get("content", {})
    schema: Schema = body.get("application/json", {}).get("schema", {})
    return schema


def _reply(route: Schema) -> Schema:
    content: Schema = route["responses"]["200"].get("content", {})
    schema: Schema = content.get("application/json", {}).get("schema", {})
    return schema


def _resolved(schema: Schema, schemas: Schema) -> Schema:
    for wrapped in schema.get("allOf", ()):
        schema = {**schema, **wrapped}
    if "$ref" in schema:
        found: Schema = schemas[schema["$ref"].rpartition("/")[2]]
        return {**found, **{key: value for key, value in schema.items() if key == "default"}}
    return schema
