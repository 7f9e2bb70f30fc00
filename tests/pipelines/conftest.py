"""The desk that engine tests order at."""

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from pipelines.engine import Engine

from .desk import Desk, Open, ToyManager, no_approx
from .toy import ToyCheckpoint


@pytest.fixture
def desk() -> Iterator[Open]:
    """Opens desks for some checkpoints, and closes their engines at the end."""
    with ExitStack() as engines:

        def make(*, max_rows: int = 16, **checkpoints: ToyCheckpoint | Exception) -> Desk:
            manager = ToyManager(**checkpoints)
            engine = Engine(manager.manager(), no_approx(), max_rows=max_rows)
            return Desk(engines.enter_context(closing(engine)), manager)

        yield make
