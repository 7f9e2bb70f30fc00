"""`GET /sdapi/v1/memory`: what this process and its device hold."""

from typing import Any

import psutil
from fastapi import APIRouter

from ..schemas.catalog import MemoryResponse
from ..services import ServicesDep

router = APIRouter()


@router.get("/sdapi/v1/memory", response_model=MemoryResponse)
async def get_memory(services: ServicesDep) -> MemoryResponse:
    """Bytes in use; a part that cannot be read is `{"error": text}`."""
    return MemoryResponse(ram=_ram(), cuda=services.jobs.device_memory())


def _ram() -> dict[str, Any]:
    """The machine's memory, and this process's share as `used`, as the reference counts it."""
    try:
        used = psutil.Process().memory_info().rss
        total = psutil.virtual_memory().total
    except psutil.Error as error:
        return {"error": str(error)}
    return {"free": total - used, "used": used, "total": total}
