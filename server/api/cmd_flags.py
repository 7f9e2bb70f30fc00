"""`GET /sdapi/v1/cmd-flags`: the flags the server was started with."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from ..schemas.options import FlagsReply, flags_as_sent
from ..services import ServicesDep

router = APIRouter()


@router.get("/sdapi/v1/cmd-flags", response_model=FlagsReply)
async def get_cmd_flags(services: ServicesDep) -> JSONResponse:
    """Every flag by its destination; secrets are not shown."""
    return JSONResponse(flags_as_sent(services.settings.cmd_flags()))
