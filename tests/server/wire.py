"""An app of the real routers, options and middleware over stand-ins for the heavy rooms."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from fastapi import APIRouter, FastAPI
from starlette.testclient import TestClient

from models.catalog import CheckpointInfo
from models.choice import ModelChoice
from server import errors, middleware
from server.api import catalog, cmd_flags, docs, login, memory, options, ping, png_info, samplers
from server.jobs import JobQueue
from server.option_rules import Rules
from server.options import OptionsStore
from server.schemas.txt2img import Txt2ImgReply, Txt2ImgRequest
from server.services import Services
from server.settings import parse

from .fakes import FakeCatalog, library

DATA = Path(__file__).parent.parent / "data"

CIRCLES = CheckpointInfo(
    path=Path("/models/circles.safetensors"),
    name="circles.safetensors",
    model_name="circles",
    sha256="c1" * 32,
    config=Path("/models/circles.yaml"),
)
SQUARES = CheckpointInfo(
    path=Path("/models/old/squares.safetensors"),
    name="old/squares.safetensors",
    model_name="old_squares",
)


def recorded(name: str) -> dict[str, Any]:
    """A request to the reference and its answer."""
    content: dict[str, Any] = json.loads((DATA / "responses" / f"{name}.json").read_text("utf-8"))
    return content


@dataclass
class Loader:
    """A job queue that loads nothing, unless told to fail."""

    loaded: list[str] = field(default_factory=list)
    choices: list[ModelChoice] = field(default_factory=list)
    failure: Exception | None = None

    async def load(self, choice: ModelChoice) -> None:
        if self.failure is not None:
            raise self.failure
        self.loaded.append(choice.checkpoint.name)
        self.choices.append(choice)

    def device_memory(self) -> dict[str, Any]:
        return {"error": "unavailable"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """A client of the app, and what stands behind it."""

    client: TestClient
    shelf: FakeCatalog
    loader: Loader
    config: Path

    def ask(self, record: dict[str, Any]) -> Any:
        """Send what was sent to the reference."""
        raw = record.get("raw_request")
        body: dict[str, Any] = {"content": raw} if raw is not None else {}
        if record.get("request") is not None:
            body = {"json": record["request"]}
        return self.client.request(
            record["method"], record["path"], headers=record.get("request_headers"), **body
        )


echoing = APIRouter()


@echoing.post("/sdapi/v1/txt2img", response_model=Txt2ImgReply)
async def echo(body: Txt2ImgRequest) -> Txt2ImgReply:
    """A txt2img that draws nothing."""
    return Txt2ImgReply(images=[], parameters=body.echo(), info="{}")


@echoing.post("/broken")
async def broken() -> None:
    """A route with a fault."""
    raise KeyError("x")


def wire(
    folder: Path,
    argv: Sequence[str] = (),
    checkpoints: Sequence[CheckpointInfo] = (CIRCLES, SQUARES),
) -> Wire:
    """A fresh app started with `argv` whose data lie in `folder`."""
    settings = parse([*argv, "--data-dir", str(folder)])
    shelf, loader = FakeCatalog(*checkpoints), Loader()
    app = FastAPI(title="Darkroom", docs_url=None, redoc_url=None, strict_content_type=False)
    app.state.services = Services(
        settings=settings,
        options=OptionsStore(settings.config_path, Rules.of(settings)),
        library=library(shelf, folder),
        jobs=cast(JobQueue, loader),
    )
    errors.install(app)
    middleware.install(app, settings)
    for module in (catalog, cmd_flags, docs, login, memory, options, ping, png_info, samplers):
        app.include_router(module.router)
    app.include_router(echoing)
    client = TestClient(app, raise_server_exceptions=False)
    return Wire(client=client, shelf=shelf, loader=loader, config=settings.config_path)
