"""The VAE files there are: `GET /sdapi/v1/sd-vae`, `POST /sdapi/v1/refresh-vae`."""

import asyncio

from fastapi import APIRouter

from ..schemas.vae import SDVaeItem
from ..services import ServicesDep

router = APIRouter()


@router.get("/sdapi/v1/sd-vae", response_model=list[SDVaeItem])
async def get_sd_vaes(services: ServicesDep) -> list[SDVaeItem]:
    """Every VAE file as the folders are now; `model_name` is what the setting `sd_vae` takes."""
    vaes = await asyncio.to_thread(services.library.vaes.vaes)
    return [SDVaeItem(model_name=info.name, filename=str(info.path)) for info in vaes]


@router.post("/sdapi/v1/refresh-vae")
async def refresh_vae(services: ServicesDep) -> None:
    """Look at every VAE file again."""
    await asyncio.to_thread(services.library.vaes.scan)
