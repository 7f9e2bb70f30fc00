"""The reply to a job posted to an address that its client named."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence

import structlog

from . import remote
from .kept import Outcome
from .options import Options

log = structlog.get_logger(__name__)

TIMEOUT_S = 10.0
"""What a receiver may take to answer."""

PAUSES_S: Sequence[float] = (2.0, 20.0)
"""Before the second and the third try; there is no fourth."""

Post = Callable[[str, bytes, Options, float], Awaitable[int]]


async def deliver(
    url: str,
    job_id: str,
    outcome: Outcome,
    options: Options,
    *,
    post: Post = remote.post,
    pauses: Sequence[float] = PAUSES_S,
) -> None:
    """Post `{"id_task", "status", "reply"}`; a receiver that answers no 2xx is asked again.

    What does not arrive is logged, and no more. Every try passes the guard of `server.remote`.
    """
    body = content(job_id, outcome)
    for pause in (*pauses, None):
        try:
            status = await post(url, body, options, TIMEOUT_S)
        except remote.BadAddress as error:
            told = str(error)
        except (remote.LocalAddress, remote.RequestsForbidden) as error:
            log.warning("webhook refused", reason=str(error))
            return
        else:
            if 200 <= status < 300:
                return
            told = f"status {status}"
        log.warning("webhook not delivered", reason=told, again=pause is not None)
        if pause is not None:
            await asyncio.sleep(pause)


def content(job_id: str, outcome: Outcome) -> bytes:
    """What a receiver is told: the reply, or the error, as its client would have got it."""
    head = json.dumps({"id_task": job_id, "status": outcome.status})
    return b"".join((head[:-1].encode(), b', "reply": ', outcome.body, b"}"))
