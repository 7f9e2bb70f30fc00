"""The composition root: routes, middleware and the owners of state make one app."""

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI

from models.catalog import Catalog
from models.demo import DEMO_CHECKPOINT
from models.errors import CheckpointError
from models.hashing import HashCache

from . import errors, middleware
from .api import ROUTERS
from .jobs import Device, JobQueue
from .options import OptionsStore
from .services import Services
from .settings import Settings
from .translate import configured_checkpoint

log = structlog.get_logger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """An app that serves `settings`, with state of its own.

    Raises `BadConfig` for an unreadable config.json, and `CheckpointError` for an unusable
    `--ckpt`.
    """
    services = Services(
        settings=settings,
        options=OptionsStore(settings.config_path),
        catalog=_catalog(settings),
        jobs=JobQueue(limit=settings.max_queue),
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        warming = asyncio.create_task(_warm_up(services))
        yield
        warming.cancel()
        services.jobs.close()

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
    for router in ROUTERS:
        app.include_router(router)
    return app


def _catalog(settings: Settings) -> Catalog:
    catalog = Catalog(
        settings.checkpoint_dirs,
        explicit=settings.ckpt,
        hashes=HashCache(settings.cache_path / "hashes.sqlite3"),
        hashing=not settings.no_hashing,
        allow_pickle=settings.allow_pickle,
        demo=DEMO_CHECKPOINT,
    )
    catalog.scan()
    return catalog


async def _warm_up(services: Services) -> None:
    """Bring the device room up behind the open port, and load the first checkpoint.

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


def _build(services: Services) -> Device:
    runtime = importlib.import_module("server.runtime")
    device: Device = runtime.build(services.settings, services.catalog)
    return device


async def _load_first(services: Services) -> None:
    checkpoint = configured_checkpoint(services.options.current, services.catalog)
    if checkpoint is None:
        return
    try:
        await services.jobs.load_checkpoint(checkpoint)
    except (CheckpointError, OSError, RuntimeError) as error:
        log.warning("checkpoint not loaded", name=checkpoint.name, error=repr(error))
