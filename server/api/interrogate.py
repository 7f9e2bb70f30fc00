"""`POST /sdapi/v1/interrogate`: a picture in words, by a model that has to be there."""

import asyncio

from fastapi import APIRouter

from .. import imagecodec, remote
from ..errors import ApiError
from ..schemas.interrogate import InterrogateRequest
from ..services import ServicesDep

router = APIRouter()

_KNOWN = ("clip", "deepdanbooru")


@router.post("/sdapi/v1/interrogate", response_model=None)
async def interrogate(body: InterrogateRequest, services: ServicesDep) -> None:
    """Refuse: no model that puts pictures into words is installed, and none is made up.

    The picture is unpacked first, on a worker thread: one that is none is another mistake.
    """
    picture = await remote.picture(body.image, services.options.current)
    await asyncio.to_thread(imagecodec.decode, picture)
    if body.model not in _KNOWN:
        raise ApiError(404, "Model not found")
    raise ApiError(404, f"Model not found: the weights of {body.model!r} are not installed here")
