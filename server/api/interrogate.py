"""`POST /sdapi/v1/interrogate`: a picture in words, by a model whose weights have to be there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from pipelines.watch import Watch

from .. import imagecodec, remote, reply
from ..interrogation import Interrogator
from ..jobs import Job
from ..schemas.interrogate import InterrogateRequest
from ..services import ServicesDep
from ..submission import Delivery, Wish, submit


@asynccontextmanager
async def _lifespan(_: Any) -> AsyncIterator[dict[str, Interrogator]]:
    """The app's interrogator: it begins and ends with it, and is reached by `request.state`."""
    interrogator = Interrogator()
    yield {"interrogator": interrogator}
    interrogator.close()


router = APIRouter(lifespan=_lifespan)


@router.post("/sdapi/v1/interrogate", response_model=None)
async def interrogate(
    body: InterrogateRequest, request: Request, services: ServicesDep
) -> Response:
    """Put a picture into words; answers when that is done.

    The picture is unpacked first: one that is none is another mistake than a model that is none.
    """
    options = services.options.current
    interrogator: Interrogator = request.state.interrogator
    watch = Watch(batch_count=1, steps=1)

    async def work(job: Job) -> Response:
        fetched = await remote.picture(body.image, options)
        picture = await asyncio.to_thread(imagecodec.decode, fetched)
        words = await interrogator.words(body.model, picture, options, services.settings, watch)
        return JSONResponse({"caption": words}, headers=reply.headers(job.id, ()))

    return await submit(Wish(kind="interrogate"), watch, work, request, services, Delivery())
