"""For tests that set up the process's log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog


@contextmanager
def log_restored() -> Iterator[None]:
    """Put the log back as it was when the block ends."""
    root = logging.getLogger()
    handlers, level, config = root.handlers, root.level, structlog.get_config()
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers = handlers
        root.setLevel(level)
        structlog.configure(**config)
