"""`POST /sdapi/v1/png-info`: how a picture was made."""

import asyncio

from fastapi import APIRouter

from .. import imagecodec, infotext, remote
from ..choosing import network_name
from ..schemas.png_info import PNGInfoRequest, PNGInfoResponse
from ..services import Services, ServicesDep
from ..styles import read_styles

router = APIRouter()


@router.post("/sdapi/v1/png-info", response_model=PNGInfoResponse)
async def png_info(body: PNGInfoRequest, services: ServicesDep) -> PNGInfoResponse:
    """Read a picture's generation parameters; on a worker thread, since it is unpacked."""
    picture = await remote.picture(body.image, services.options.current)
    return await asyncio.to_thread(_told, picture, services)


def _told(picture: str, services: Services) -> PNGInfoResponse:
    text, items = imagecodec.metadata(picture)
    options, library = services.options.current, services.library
    styles = read_styles(services.settings.styles_file)
    fields = infotext.parse(text, styles, options.extra["infotext_styles"])
    fields = infotext.renamed_networks(fields, lambda code: network_name(code, options, library))
    return PNGInfoResponse(info=text, items=items, parameters=fields)
