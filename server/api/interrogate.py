"""`POST /sdapi/v1/interrogate`: a picture in words, by a model that has to be there."""

from fastapi import APIRouter

from .. import imagecodec
from ..errors import ApiError
from ..schemas.interrogate import InterrogateRequest

router = APIRouter()

_KNOWN = ("clip", "deepdanbooru")


@router.post("/sdapi/v1/interrogate", response_model=None)
def interrogate(body: InterrogateRequest) -> None:
    """Refuse: no model that puts pictures into words is installed, and none is made up.

    On a worker thread, since the picture is unpacked first: one that is none is another mistake.
    """
    imagecodec.decode(body.image)
    if body.model not in _KNOWN:
        raise ApiError(404, "Model not found")
    raise ApiError(404, f"Model not found: the weights of {body.model!r} are not installed here")
