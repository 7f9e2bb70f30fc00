"""`GET /sdapi/v1/extensions`: what does not ship with the server."""

from fastapi import APIRouter

from extensions.registry import EXTENSIONS

from ..extension_choice import enabled
from ..schemas.tools import ExtensionItem
from ..services import ServicesDep

router = APIRouter()


@router.get("/sdapi/v1/extensions", response_model=list[ExtensionItem])
async def get_extensions_list(services: ServicesDep) -> list[ExtensionItem]:
    """The extensions from outside; nothing is known of the repositories they came from.

    Those that ship with the server are part of it; `/sdapi/v1/scripts` has their titles.
    """
    on = enabled(services)
    nothing = dict.fromkeys(("remote", "branch", "commit_hash", "version", "commit_date"), "")
    return [
        ExtensionItem(name=each.title, enabled=each in on, **nothing)
        for each in services.extensions
        if each not in EXTENSIONS
    ]
