"""What the routes share: built once in `create_app`, reached through `app.state`."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from extensions.protocol import Extension
from extensions.registry import EXTENSIONS
from models.library import Library
from models.sessions import SessionCache

from .jobs import JobQueue
from .options import OptionsStore
from .profile import StartupProfile
from .settings import Settings
from .tools import PLAIN, Tools
from .workers import Workers

SESSION_BYTES = 2**31
"""Bytes of files that the models of tools and extensions may have to be kept open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The owners of the server's state, and the flags it was started with."""

    settings: Settings
    options: OptionsStore
    library: Library
    jobs: JobQueue
    tools: Tools = PLAIN
    sessions: SessionCache = field(default_factory=lambda: SessionCache(SESSION_BYTES))
    workers: Workers = field(default_factory=Workers)
    extensions: tuple[Extension, ...] = EXTENSIONS
    profile: StartupProfile = field(default_factory=StartupProfile)


def services(request: Request) -> Services:
    """The services of the app that serves `request`."""
    found: Services = request.app.state.services
    return found


ServicesDep = Annotated[Services, Depends(services)]
