"""The composition root: routes, middleware and the owners of state make one app."""

import asyncio
import importlib
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog
from fastapi import FastAPI

from models.errors import CheckpointError
from models.hash_pass import HashPass
from models.library import Library
from models.sessions import SessionCache

from . import errors, middleware
from .api import ROUTERS, STOPPING
from .choosing import model_choice
from .extension_choice import extensions_of
from .extension_routes import extension_routes
from .faces import FaceTools, Restorers
from .jobs import Device, JobQueue
from .library import open_shelves
from .option_rules import Rules
from .options import OptionsStore
from .profile import StartupProfile
from .services import SESSION_BYTES, Services
from .settings import Settings
from .tools import Tools, open_tools

log = structlog.get_logger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """An app that serves `settings`, with state of its own.

    Raises `BadConfig` for an unreadable config.json, and `CheckpointError` for an unusable
    `--ckpt`.
    """
    profile = StartupProfile()
    options = OptionsStore(settings.config_path, Rules.of(settings))
    with profile.stage("list models"):
        shelves = open_shelves(settings)
    sessions = SessionCache(SESSION_BYTES)
    services = Services(
        settings=settings,
        options=options,
        library=shelves.library,
        jobs=JobQueue(limit=settings.max_queue),
        tools=_tools(settings, shelves.library, options, sessions),
        sessions=sessions,
        extensions=extensions_of(settings),
        profile=profile,
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        hashing = shelves.hash_pass(lambda: _is_busy(services))
        warming = asyncio.create_task(_warm_up(services, hashing))
        warming.add_done_callback(partial(_warmed, services))
        yield
        warming.cancel()
        services.jobs.close()
        services.workers.close()
        if hashing is not None:
            await asyncio.to_thread(hashing.stop)

    app = FastAPI(
        title="Darkroom",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        strict_content_type=False,
    )
    app.state.services = services
    errors.install(app)
    middleware.install(app, settings)
    for router in (*ROUTERS, STOPPING) if settings.api_server_stop else ROUTERS:
        app.include_router(router)
    app.include_router(extension_routes(services))
    return app


def _tools(
    settings: Settings, library: Library, options: OptionsStore, sessions: SessionCache
) -> Tools:
    """What works on pictures, over one cache of what it opens."""
    found = FaceTools(settings, library, sessions, threading.Lock())
    restorers = Restorers(found, lambda: options.current)
    return open_tools(settings, library, options, sessions, restorers=restorers, faces=found.faces)


def _is_busy(services: Services) -> bool:
    """Whether somebody waits for the device; asked from any thread."""
    return services.jobs.current is not None or services.options.switching.locked()


async def _warm_up(services: Services, hashing: HashPass | None) -> None:
    """Bring the device room up behind the open port, load the first checkpoint, begin to hash.

    Importing torch takes seconds, so it must not happen while this module is imported (see
    docs/adr/0002): that is why `server.runtime` is named here by text.
    """
    try:
        device = await asyncio.to_thread(_build, services)
    except (ImportError, OSError, RuntimeError) as error:
        log.error("the device cannot be used", error=repr(error))
        services.jobs.failed(error)
        return
    services.jobs.ready(device)
    if not services.settings.skip_load_model_at_start:
        await _load_first(services)
    if hashing is not None:
        hashing.start()


def _warmed(services: Services, warming: asyncio.Task[None]) -> None:
    """Answer the jobs that wait, whatever ended the warming up: importing runs foreign code."""
    if warming.cancelled():
        return
    error = warming.exception()
    if isinstance(error, Exception):
        log.error("the device cannot be used", exc_info=error)
        services.jobs.failed(error)


def _build(services: Services) -> Device:
    with services.profile.stage("import torch"):
        runtime = importlib.import_module("server.runtime")
    with services.profile.stage("set up the device"):
        device: Device = runtime.build(services.settings, services.library, services.options)
    return device


async def _load_first(services: Services) -> None:
    options = services.options.current
    if not services.library.checkpoints.checkpoints():
        return
    choice, _ = model_choice(options, options, services.library, tiling=options.tiling)
    try:
        with services.profile.stage("load the checkpoint"):
            await services.jobs.load(choice)
    except (CheckpointError, OSError, RuntimeError) as error:
        log.warning("checkpoint not loaded", name=choice.checkpoint.name, error=repr(error))
