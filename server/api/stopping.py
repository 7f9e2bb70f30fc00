"""`POST /sdapi/v1/server-stop`, `/server-restart` and `/server-kill`; only with their flag."""

import os
import signal

import structlog
from fastapi import APIRouter, Response
from starlette.background import BackgroundTask

router = APIRouter()

_log = structlog.get_logger(__name__)

#: set by whoever starts the server anew when it has ended, as webui.sh does
SUPERVISOR = "SD_WEBUI_RESTART"


@router.post("/sdapi/v1/server-stop")
async def stop() -> Response:
    """Take no more calls, finish those under way, and end."""
    _log.info("stopping, as asked for")
    return Response("Stopping.", background=BackgroundTask(_interrupt))


@router.post("/sdapi/v1/server-restart")
async def restart() -> Response:
    """The same, where somebody stands by to start it anew; else 501."""
    if not os.environ.get(SUPERVISOR):
        return Response(status_code=501)
    _log.info("stopping for a restart, as asked for")
    return Response("Restarting.", background=BackgroundTask(_interrupt))


@router.post("/sdapi/v1/server-kill")
async def kill() -> None:
    """End at once, without an answer."""
    os._exit(0)


async def _interrupt() -> None:
    """What Ctrl-C does; on the loop's own thread, which alone is told of signals."""
    signal.raise_signal(signal.SIGINT)
