"""The log: one line an event on stderr, ours and the libraries' alike, with the job it concerns."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# their information lines say what ours say already, or nothing that a user needs
_QUIET = ("uvicorn", "uvicorn.error", "httpx", "httpcore", "urllib3", "filelock", "asyncio", "PIL")


def configure(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send every log of the process through one formatter to `stream` (stderr)."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                render_line,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)


@contextlib.contextmanager
def job_bound(job_id: str) -> Iterator[None]:
    """Put `job=<id>` on every event of this thread or task while the block runs."""
    with structlog.contextvars.bound_contextvars(job=job_id):
        yield


def render_line(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """Return `time level event key=value ...`; a traceback follows on indented lines."""
    fields = dict(event)
    head = (
        str(fields.pop("timestamp", "")),
        str(fields.pop("level", method)).upper().ljust(7),
        _one_line(str(fields.pop("event", ""))),
    )
    traceback = fields.pop("exception", None)
    fields.pop("stack_info", None)
    pairs = [f"{key}={_value(value)}" for key, value in fields.items()]
    line = " ".join([*head, *pairs])
    if traceback is None:
        return line
    return "\n".join([line, *(f"    {row}" for row in str(traceback).splitlines())])


def _value(value: object) -> str:
    text = str(value)
    plain = text and text.isprintable() and not {" ", "="} & set(text)
    return text if plain else repr(text)


def _one_line(text: str) -> str:
    """Escape what would forge another line or drive a terminal; text may come from a request."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
