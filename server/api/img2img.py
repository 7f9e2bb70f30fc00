"""`POST /sdapi/v1/img2img`: pictures from pictures."""

from fastapi import APIRouter, Request, Response

from ..answer import answer
from ..schemas.img2img import Img2ImgReply, Img2ImgRequest
from ..services import ServicesDep
from ..submission import DeliveryDep

router = APIRouter()


@router.post("/sdapi/v1/img2img", response_model=Img2ImgReply)
async def img2img(
    body: Img2ImgRequest, request: Request, services: ServicesDep, how: DeliveryDep
) -> Response:
    """Draw the init pictures again as the prompt says; answers when the pictures are done.

    With `wait=false` at once: the pictures are then fetched from `/internal/result/{id_task}`.
    """
    return await answer("img2img", body, request, services, how)
