"""`GET /sdapi/v1/hypernetworks`: none, since prompts cannot use them here."""

from fastapi import APIRouter

from ..schemas.tools import HypernetworkItem

router = APIRouter()


@router.get("/sdapi/v1/hypernetworks", response_model=list[HypernetworkItem])
async def get_hypernetworks() -> list[HypernetworkItem]:
    """Files are not listed: a client that chose one would wait for an effect in vain."""
    return []
