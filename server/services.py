"""What the routes share: built once in `create_app`, reached through `app.state`."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from models.library import Library

from .jobs import JobQueue
from .options import OptionsStore
from .profile import StartupProfile
from .settings import Settings
from .tools import PLAIN, Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The owners of the server's state, and the flags it was started with."""

    settings: Settings
    options: OptionsStore
    library: Library
    jobs: JobQueue
    tools: Tools = PLAIN
    profile: StartupProfile = field(default_factory=StartupProfile)


def services(request: Request) -> Services:
    """The services of the app that serves `request`."""
    found: Services = request.app.state.services
    return found


ServicesDep = Annotated[Services, Depends(services)]
