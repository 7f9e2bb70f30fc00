"""`python -m server`: flags and environment into Settings, a bound port, then uvicorn."""

import contextlib
import os
import socket
import sys
from collections.abc import Sequence

import structlog
import uvicorn

from models.errors import CheckpointError

from .app import create_app
from .logging import configure
from .options import BadConfig
from .settings import Settings, parse
from .startup import StartError, check_files, open_socket, prepare_folders

_DRAIN_S = 30
_SWITCH_S = 0.0005
"""After how long a thread lets another one run Python: the device thread asks for it at every
operation, and by default waits 5 ms each time while a hook runs (docs/performance.md)."""


def main(argv: Sequence[str]) -> int:
    """Serve until stopped; returns the exit status: 1 after one line if it cannot start."""
    settings = parse(argv, os.environ)
    sys.setswitchinterval(_SWITCH_S)
    configure(settings.loglevel or "INFO")
    log = structlog.get_logger(__name__)
    if settings.ignored:
        log.info("accepted without effect here", flags=" ".join(settings.ignored))
    try:
        check_files(settings)
        prepare_folders(settings)
        with open_socket(settings.host, settings.port_number) as listener:
            config = _config(settings)
            log.info("listening", url=_url(settings, listener), data=settings.data_path)
            # uvicorn raises the signal again once it has stopped
            with contextlib.suppress(KeyboardInterrupt):
                uvicorn.Server(config).run(sockets=[listener])
    except (StartError, BadConfig, CheckpointError) as error:
        log.error(str(error))
        return 1
    return 0


def _config(settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,
        root_path=settings.root_path,
        timeout_keep_alive=settings.timeout_keep_alive,
        timeout_graceful_shutdown=_DRAIN_S,
        ssl_keyfile=settings.tls_keyfile,
        ssl_certfile=settings.tls_certfile,
    )


def _url(settings: Settings, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    scheme = "https" if settings.tls_certfile else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{settings.root_path}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
