"""A request handed in as a job: it is carried out once, whoever waits, leaves or asks again."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any
from urllib.parse import quote

import structlog
from fastapi import Depends, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from pipelines.watch import Cancelled, Watch

from . import reply, webhook
from .disconnect import on_disconnect
from .errors import ApiError
from .jobs import Job, JobQueue, QueueFull
from .kept import Outcome
from .logging import job_bound
from .options import Options
from .remote import BadAddress, LocalAddress, RequestsForbidden, check_address
from .schemas.generation import GenerationRequest
from .schemas.img2img import Img2ImgRequest
from .services import Services

log = structlog.get_logger(__name__)

MAX_ID = 256
"""Characters that an id of a client's own may have."""

RESULT = "/internal/result/"
"""Where the reply to a job is fetched, by its id."""

Work = Callable[[Job], Coroutine[Any, Any, Response]]
"""What a job does; its errors are answered as if a route had raised them."""

_AGAIN = "the same was asked for before under this id: this is its answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How the reply reaches the client: it waits, or fetches it later; it may be posted too."""

    wait: bool = True
    webhook: str | None = None


def delivery(wait: bool = True, webhook: str | None = None) -> Delivery:
    """With `wait=false` the answer is the job's id, and the reply is fetched by it.

    The reply is also posted to the address `webhook`.
    """
    return Delivery(wait=wait, webhook=webhook or None)


DeliveryDep = Annotated[Delivery, Depends(delivery)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is handed in: its kind, the id that the client wants, and what stands for the rest."""

    kind: str
    id: str | None = None
    digest: str | None = None


def wish(kind: str, body: GenerationRequest) -> Wish:
    """The wish of a request; hashes all of it where it has an id. Raises `ApiError`."""
    wanted = body.force_task_id
    if not wanted:
        return Wish(kind=kind)
    if len(wanted) > MAX_ID:
        raise ApiError(
            422, f"force_task_id has {len(wanted)} characters; allowed are at most {MAX_ID}"
        )
    digest = blake2b(kind.encode())
    digest.update(json.dumps(body.echo()).encode())
    for picture in _pictures(body):
        text = picture if isinstance(picture, str) else json.dumps(picture)
        digest.update(b"%d " % len(text))
        digest.update(text.encode(errors="surrogatepass"))
    return Wish(kind=kind, id=wanted, digest=digest.hexdigest())


def _pictures(body: GenerationRequest) -> tuple[object, ...]:
    """The pictures sent along: the echo leaves them out, and as JSON they would take long."""
    return (*(body.init_images or ()), body.mask) if isinstance(body, Img2ImgRequest) else ()


async def submit(
    wished: Wish, watch: Watch, work: Work, request: Request, services: Services, how: Delivery
) -> Response:
    """Carry out `work` as a job and answer when it is done, or at once.

    The same wish is not carried out twice while its job is there or its reply is kept. Raises
    `HTTPException` when the queue is full, and `ApiError` for a webhook that must not be called.
    """
    jobs = services.jobs
    if how.webhook is not None:
        await _check_webhook(how.webhook, services.options.current)
    if wished.id is not None and wished.digest is not None:
        kept = jobs.kept.same(wished.id, wished.digest)
        if kept is not None and kept.status == 200:
            return _again(kept) if how.wait else submitted(wished.id, request)
    job = _under_way(wished, jobs)
    if job is None:
        try:
            job = jobs.accept(wished.kind, watch, wished.id, wished.digest)
        except QueueFull as error:
            pause = {"Retry-After": str(error.retry_after)}
            raise HTTPException(503, str(error), pause) from error
        job.outcome = asyncio.create_task(_carried(job, work, request, jobs))
        if how.webhook is not None:
            jobs.beside(_posted(how.webhook, job.id, job.outcome, services))
    if not how.wait:
        job.detached = True
        return submitted(job.id, request)
    return await _awaited(job, request)


async def _check_webhook(url: str, options: Options) -> None:
    try:
        await check_address(url, options)
    except (RequestsForbidden, LocalAddress, BadAddress) as error:
        raise ApiError(422, f"webhook {url!r:.200}: {error}") from error


def submitted(job_id: str, request: Request) -> Response:
    """The answer to a client that does not wait: where it will find the reply."""
    place = request.scope.get("root_path", "") + RESULT + quote(job_id, safe="")
    headers = {**reply.headers(job_id, ()), "Location": place}
    return JSONResponse({"id_task": job_id, "result": place}, 202, headers)


def _under_way(wished: Wish, jobs: JobQueue) -> Job | None:
    """The job that works on the same already."""
    job = None if wished.id is None else jobs.find(wished.id)
    if job is None or job.digest != wished.digest or job.watch.cancelled:
        return None
    return None if job.outcome is None else job


def _again(kept: Outcome) -> Response:
    told = kept.headers.get("x-darkroom-warning")
    return kept.response(**{"x-darkroom-warning": f"{told}; {_AGAIN}" if told else _AGAIN})


async def _awaited(job: Job, request: Request) -> Response:
    outcome = job.outcome
    assert outcome is not None
    job.clients += 1
    async with on_disconnect(request, job.leave):
        await asyncio.wait([outcome])
    return outcome.result().response()


async def _carried(job: Job, work: Work, request: Request, jobs: JobQueue) -> Outcome:
    with job_bound(job.id):
        working = asyncio.create_task(work(job))
        await asyncio.wait([working])
        error = Cancelled("the server is stopping") if working.cancelled() else working.exception()
        if error is None:
            outcome = Outcome.of(working.result())
        else:
            outcome = await _told(error, job, request)
    jobs.end(job, error, outcome)
    return outcome


async def _posted(
    url: str, job_id: str, outcome: asyncio.Task[Outcome], services: Services
) -> None:
    await asyncio.wait([outcome])
    await webhook.deliver(url, job_id, outcome.result(), services.options.current)


async def _told(error: BaseException, job: Job, request: Request) -> Outcome:
    """The answer to an error, as the app gives it."""
    handlers = request.app.exception_handlers
    kind = next(each for each in type(error).__mro__ if each in handlers)
    if kind is Exception:
        log.error("job failed", exc_info=error)
    response = await handlers[kind](request, error)
    response.headers.update(reply.headers(job.id, ()))
    return Outcome.of(response)
