"""The composition root: routes, middleware and the owners of state make one app."""

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI

from models.approx_files import find_approx
from models.catalog import Catalog
from models.demo import DEMO_CHECKPOINT
from models.errors import CheckpointError
from models.hashing import HashCache
from models.library import Library
from models.networks.files import NetworkCatalog
from models.vae_files import VaeCatalog

from . import errors, middleware
from .api import ROUTERS, STOPPING
from .choosing import model_choice
from .jobs import Device, JobQueue
from .option_rules import Rules
from .options import OptionsStore
from .profile import StartupProfile
from .services import Services
from .settings import Settings

log = structlog.get_logger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """An app that serves `settings`, with state of its own.

    Raises `BadConfig` for an unreadable config.json, and `CheckpointError` for an unusable
    `--ckpt`.
    """
    profile = StartupProfile()
    options = OptionsStore(settings.config_path, Rules.of(settings))
    with profile.stage("list models"):
        library = _library(settings)
    services = Services(
        settings=settings,
        options=options,
        library=library,
        jobs=JobQueue(limit=settings.max_queue),
        profile=profile,
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
    for router in (*ROUTERS, STOPPING) if settings.api_server_stop else ROUTERS:
        app.include_router(router)
    return app


def _library(settings: Settings) -> Library:
    """The catalogs of the folders that `settings` name, scanned."""
    hashes = HashCache(settings.cache_path / "hashes.sqlite3")
    hashing, allow_pickle = not settings.no_hashing, settings.allow_pickle
    library = Library(
        checkpoints=Catalog(
            settings.checkpoint_dirs,
            explicit=settings.ckpt,
            hashes=hashes,
            hashing=hashing,
            allow_pickle=allow_pickle,
            demo=DEMO_CHECKPOINT,
        ),
        vaes=VaeCatalog(
            settings.vae_dirs,
            settings.checkpoint_dirs,
            hashes=hashes,
            hashing=hashing,
            allow_pickle=allow_pickle,
            explicit=settings.vae_path,
        ),
        networks=NetworkCatalog(
            (settings.lora_dir,),
            hashes=HashCache(settings.cache_path / "networks.sqlite3"),
            hashing=hashing,
            allow_pickle=allow_pickle,
        ),
        approx=find_approx(settings.models_path, allow_pickle=allow_pickle),
    )
    library.checkpoints.scan()
    library.vaes.scan()
    library.networks.scan()
    return library


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
    with services.profile.stage("import torch"):
        runtime = importlib.import_module("server.runtime")
    with services.profile.stage("set up the device"):
        device: Device = runtime.build(services.settings, services.library)
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
