"""`GET /sdapi/v1/extensions`: what was installed from repositories, which is nothing."""

from fastapi import APIRouter

from ..schemas.tools import ExtensionItem

router = APIRouter()


@router.get("/sdapi/v1/extensions", response_model=list[ExtensionItem])
async def get_extensions_list() -> list[ExtensionItem]:
    """Extensions are part of this server; `/sdapi/v1/scripts` has their titles."""
    return []
