"""The LoRAs there are: `GET /sdapi/v1/loras`, `POST /sdapi/v1/refresh-loras`."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from ..schemas.tools import LoraItem
from ..services import ServicesDep

router = APIRouter()


@router.get("/sdapi/v1/loras", response_model=list[LoraItem])
def get_loras(services: ServicesDep) -> JSONResponse:
    """Every network file with its metadata; on a worker thread, for these can be megabytes."""
    return JSONResponse(services.library.networks.listing())


@router.post("/sdapi/v1/refresh-loras")
def refresh_loras(services: ServicesDep) -> None:
    """Look at every LoRA file again."""
    services.library.networks.scan()
