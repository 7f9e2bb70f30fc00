"""`POST /sdapi/v1/txt2img`: pictures from text."""

from fastapi import APIRouter, Request, Response

from ..answer import answer
from ..schemas.txt2img import Txt2ImgReply, Txt2ImgRequest
from ..services import ServicesDep
from ..submission import DeliveryDep

router = APIRouter()


@router.post("/sdapi/v1/txt2img", response_model=Txt2ImgReply)
async def txt2img(
    body: Txt2ImgRequest, request: Request, services: ServicesDep, how: DeliveryDep
) -> Response:
    """Draw what the prompt says; answers when the pictures are done.

    With `wait=false` at once: the pictures are then fetched from `/internal/result/{id_task}`.
    """
    return await answer("txt2img", body, request, services, how)
