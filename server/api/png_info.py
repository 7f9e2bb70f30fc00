"""`POST /sdapi/v1/png-info`: how a picture was made."""

from fastapi import APIRouter

from .. import imagecodec, infotext
from ..schemas.png_info import PNGInfoRequest, PNGInfoResponse
from ..services import ServicesDep
from ..styles import read_styles

router = APIRouter()


@router.post("/sdapi/v1/png-info", response_model=PNGInfoResponse)
def png_info(body: PNGInfoRequest, services: ServicesDep) -> PNGInfoResponse:
    """Read a picture's generation parameters; on a worker thread, since it is unpacked."""
    text, items = imagecodec.metadata(body.image)
    setting = services.options.current.extra["infotext_styles"]
    styles = read_styles(services.settings.styles_file)
    return PNGInfoResponse(info=text, items=items, parameters=infotext.parse(text, styles, setting))
