"""Seeds that a client left to chance, drawn once for a whole script."""

import random

from .wanted import Wanted

_BOUND = 4294967294


def drawn() -> int:
    """A random seed."""
    return random.randrange(_BOUND)


def fixed(wanted: Wanted) -> Wanted:
    """The same generation with its seed and its variation seed settled."""
    return wanted.changed(
        seed=drawn() if wanted.seed == -1 else wanted.seed,
        subseed=drawn() if wanted.subseed == -1 else wanted.subseed,
    )
