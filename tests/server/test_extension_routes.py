"""Routes of extensions: their bodies, pictures and errors, and how OpenAPI tells of them."""

import base64
import io
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from extensions.protocol import BadScriptArgs, Extension, Missing, Route, Workshop, arg
from server import errors, middleware
from server.extension_routes import extension_routes
from server.imagecodec import decode
from server.jobs import JobQueue
from server.options import OptionsStore
from server.services import Services
from server.settings import parse

from .fakes import CHECKPOINT, FakeCatalog, library


@dataclass(frozen=True, slots=True, kw_only=True)
class Args:
    """The body."""

    picture: Image.Image | None = arg(None, "A picture")
    scale: float = arg(2.0, "How much larger")
    names: tuple[str, ...] = arg(("a", "b"), "Names")
    which: int | str = arg(0, "Which")


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No body."""


def enlarge(workshop: Workshop, args: Args) -> Mapping[str, Any] | None:
    """Make a picture larger."""
    if args.picture is None:
        return None
    if args.scale > 8:
        raise BadScriptArgs(f"scale {args.scale}: allowed are 0 to 8")
    if args.which == "weights":
        raise Missing("put big.pth into models/Big")
    if args.which == "broken":
        raise RuntimeError("out of order")
    bigger = workshop.upscale(args.picture, "Nearest", args.scale)
    thread = threading.current_thread().name.partition("_")[0]
    return {"image": bigger, "more": [{"same": bigger}], "names": args.names, "thread": thread}


def listed(workshop: Workshop, args: Nothing) -> Mapping[str, Any]:
    """What there is."""
    return {"upscalers": workshop.names["upscalers"]}


EXTENSION = Extension(
    title="Big",
    modes=(),
    args=Nothing,
    routes=(
        Route(path="/big/image", call=enlarge, args=Args),
        Route(path="/big/names", call=listed, args=Nothing),
    ),
)


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    settings = parse(["--data-dir", str(tmp_path)])
    services = Services(
        settings=settings,
        options=OptionsStore(settings.config_path),
        library=library(FakeCatalog(CHECKPOINT), tmp_path),
        jobs=JobQueue(limit=0),
        extensions=(EXTENSION,),
    )
    app = FastAPI()
    app.state.services = services
    errors.install(app)
    middleware.install(app, settings)
    app.include_router(extension_routes(services))
    return app


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def sent(width: int = 8, height: int = 16) -> str:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 10, 30)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_pictures_go_in_and_out(client: TestClient) -> None:
    reply = client.post("/big/image", json={"picture": sent(), "scale": 3}).json()
    picture = decode(reply["image"])
    assert (picture.size, picture.getpixel((0, 0))) == ((24, 48), (200, 10, 30))
    assert reply["more"] == [{"same": reply["image"]}]
    assert reply["names"] == ["a", "b"]
    assert reply["thread"] == "extension"


def test_what_is_left_out_or_null_has_its_default(client: TestClient) -> None:
    body = {"picture": f"data:image/png;base64,{sent()}", "scale": None, "names": ["c"], "x": 1}
    reply = client.post("/big/image", json=body).json()
    assert decode(reply["image"]).size == (16, 32)
    assert reply["names"] == ["c"]


@pytest.mark.parametrize("body", [{}, {"picture": ""}, {"picture": None}])
def test_no_picture_is_none(client: TestClient, body: dict[str, object]) -> None:
    answer = client.post("/big/image", json=body)
    assert (answer.status_code, answer.json()) == (200, None)


def test_a_route_without_a_body_is_got(client: TestClient) -> None:
    assert client.get("/big/names").json() == {"upscalers": ["None", "Lanczos", "Nearest"]}
    assert client.post("/big/names", json={}).status_code == 405


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"scale": 9}, 422, "scale 9.0: allowed are 0 to 8"),
        ({"which": "weights"}, 404, "put big.pth into models/Big"),
        ({"which": "broken"}, 500, "out of order"),
        ({"picture": "%%%"}, 500, "Invalid encoded image"),
        ({"scale": "much"}, 422, "value is not a valid float"),
        ({"names": 5}, 422, "value is not a valid list"),
    ],
)
def test_errors_are_told_in_the_wires_shape(
    client: TestClient, body: dict[str, object], status: int, said: str
) -> None:
    answer = client.post("/big/image", json={"picture": sent(), **body})
    assert (answer.status_code, said in answer.text) == (status, True), answer.text
    assert client.post("/big/image", json={"picture": sent()}).status_code == 200


def test_what_curl_posts_is_read(app: FastAPI, client: TestClient) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = json.dumps({"picture": sent()})
    reply = client.post("/big/image", content=body, headers=form)
    assert decode(reply.json()["image"]).size == (16, 32)
    asked = {**form, "Origin": "http://page.example"}
    assert client.post("/big/image", content=body, headers=asked).status_code in (403, 422)


def test_openapi_tells_of_the_body(client: TestClient) -> None:
    told = client.get("/openapi.json").json()
    assert told["paths"]["/big/image"]["post"]["description"] == "Make a picture larger."
    fields = told["components"]["schemas"]["BigImageRequest"]["properties"]
    assert {name: field["default"] for name, field in fields.items()} == {
        "picture": "",
        "scale": 2.0,
        "names": ["a", "b"],
        "which": 0,
    }
    assert fields["scale"]["description"] == "How much larger"


def test_one_that_settings_switch_off_is_not_there(app: FastAPI, client: TestClient) -> None:
    store = app.state.services.options
    store._current = replace(store.current, disabled_extensions=["big"])
    assert client.get("/big/names").status_code == 404
    assert client.get("/big/names").json() == {"detail": "Not Found"}
    store._current = replace(store.current, disabled_extensions=[])
    assert client.get("/big/names").status_code == 200
