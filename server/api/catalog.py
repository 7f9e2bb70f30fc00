"""The checkpoints there are: `GET /sdapi/v1/sd-models`, `POST /sdapi/v1/refresh-checkpoints`."""

import asyncio

from fastapi import APIRouter

from ..schemas.catalog import SDModelItem
from ..services import ServicesDep

router = APIRouter()


@router.get("/sdapi/v1/sd-models", response_model=list[SDModelItem])
async def get_sd_models(services: ServicesDep) -> list[SDModelItem]:
    """Every checkpoint as the folders are now; hashes are null until a file was first hashed."""
    checkpoints = await asyncio.to_thread(services.library.checkpoints.checkpoints)
    return [
        SDModelItem(
            title=info.title,
            model_name=info.model_name,
            hash=info.short_hash,
            sha256=info.sha256,
            filename=str(info.path),
            config=str(info.config) if info.config else None,
        )
        for info in checkpoints
    ]


@router.post("/sdapi/v1/refresh-checkpoints")
async def refresh_checkpoints(services: ServicesDep) -> None:
    """Look at every checkpoint file again."""
    await asyncio.to_thread(services.library.checkpoints.scan)
