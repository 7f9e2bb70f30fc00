"""`POST /sdapi/v1/png-info`: how a picture was made."""

from fastapi import APIRouter

from .. import imagecodec, infotext
from ..schemas.png_info import PNGInfoRequest, PNGInfoResponse

router = APIRouter()


@router.post("/sdapi/v1/png-info", response_model=PNGInfoResponse)
def png_info(body: PNGInfoRequest) -> PNGInfoResponse:
    """Read a picture's generation parameters; on a worker thread, since it is unpacked."""
    text, items = imagecodec.metadata(body.image)
    return PNGInfoResponse(info=text, items=items, parameters=infotext.parse(text))
