import io
import logging
import re
import warnings
from collections.abc import Iterator

import pytest
import structlog

from server.logging import configure, job_bound

from .log_state import log_restored


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    with log_restored():
        configure("INFO", stream)
        yield stream


def test_an_event_is_one_line(log: io.StringIO) -> None:
    structlog.get_logger("x").warning("skipped", path="/a b/c.safetensors", tensors=3, reason="")
    line = log.getvalue()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d WARNING skipped"
        r" path='/a b/c\.safetensors' tensors=3 reason=''\n",
        line,
    )


def test_the_job_is_on_every_event_of_its_block(log: io.StringIO) -> None:
    with job_bound("job-7"):
        structlog.get_logger("x").info("step")
        logging.getLogger("library").warning("%d of %s", 3, "four")
    structlog.get_logger("x").info("idle")
    lines = log.getvalue().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == [
        "INFO    step job=job-7",
        "WARNING 3 of four job=job-7",
        "INFO    idle",
    ]


def test_what_a_client_sent_cannot_forge_a_line(log: io.StringIO) -> None:
    structlog.get_logger("x").info("job", prompt="a\n2026 ERROR fire\x1b[2J", seed=1)
    assert log.getvalue().count("\n") == 1
    assert "prompt='a\\n2026 ERROR fire\\x1b[2J' seed=1" in log.getvalue()


def test_a_traceback_follows_its_line_indented(log: io.StringIO) -> None:
    try:
        raise ValueError("odd")
    except ValueError:
        structlog.get_logger("x").exception("failed", job="j")
    first, *rest = log.getvalue().splitlines()
    assert first.endswith("ERROR   failed job=j")
    assert rest[-1] == "    ValueError: odd"
    assert all(line.startswith("    ") for line in rest)


def test_the_level_holds_for_libraries_and_warnings_are_logged(log: io.StringIO) -> None:
    structlog.get_logger("x").debug("unseen")
    logging.getLogger("uvicorn.error").info("unseen")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("worn out", stacklevel=1)
    assert "unseen" not in log.getvalue()
    assert "worn out" in log.getvalue()
