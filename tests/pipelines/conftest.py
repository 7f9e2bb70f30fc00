"""The desk that engine tests order at."""

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from pipelines.admission import Admission, Limits, Pacing
from pipelines.engine import Engine

from .desk import Desk, Open, Steady, ToyManager, no_approx
from .toy import ToyCheckpoint

#: latents of a forward; nobody is passed by others, so that nothing depends on time
SIXTEEN = Limits(max_rows=16, switches=0)


@pytest.fixture
def desk() -> Iterator[Open]:
    """Opens desks for some checkpoints, and closes their engines at the end."""
    with ExitStack() as engines:

        def make(
            *,
            limits: Limits = SIXTEEN,
            pace: Pacing | None = None,
            **toys: ToyCheckpoint | Exception,
        ) -> Desk:
            manager, steady = ToyManager(**toys), pace or Steady()
            engine = Engine(manager.manager(), no_approx(), Admission(limits, lambda: steady))
            return Desk(engines.enter_context(closing(engine)), manager)

        yield make
