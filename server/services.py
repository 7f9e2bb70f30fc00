"""What the routes share: built once in `create_app`, reached through `app.state`."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from models.library import Library

from .jobs import JobQueue
from .options import OptionsStore
from .settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The owners of the server's state, and the flags it was started with."""

    settings: Settings
    options: OptionsStore
    library: Library
    jobs: JobQueue


def services(request: Request) -> Services:
    """The services of the app that serves `request`."""
    found: Services = request.app.state.services
    return found


ServicesDep = Annotated[Services, Depends(services)]
