"""What one script may ask for; beyond it an error comes at once, before anything is drawn."""

from typing import Any

from .protocol import BadScriptArgs
from .wanted import Wanted

MAX_GENERATIONS = 1024
"""Generations of one script."""

MAX_PIXELS = 2**28
"""Pixels of one picture that a script puts together."""


def check_count(what: str, count: int) -> None:
    """Refuse more generations than a script may have, and none. Raises BadScriptArgs."""
    if not 1 <= count <= MAX_GENERATIONS:
        shown = count if count < 10**12 else "far too many"
        raise BadScriptArgs(f"{what}: {shown}; allowed are 1 to {MAX_GENERATIONS}")


def check_size(what: str, width: int, height: int, most: int = MAX_PIXELS) -> None:
    """Refuse a picture that is empty or has more than `most` pixels. Raises BadScriptArgs."""
    if width < 1 or height < 1 or width * height > most:
        raise BadScriptArgs(
            f"{what} would have {width}x{height} pixels; allowed are 1 to {most} in all"
        )


def check_span(name: str, value: float, low: float, high: float) -> None:
    """Refuse a number outside `low` to `high`. Raises BadScriptArgs."""
    if not low <= value <= high:
        raise BadScriptArgs(f"{name} {value!r}: allowed are {low} to {high}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a word that is none of `choices`. Raises BadScriptArgs."""
    if value not in choices:
        raise BadScriptArgs(f"{name} {value!r:.80}: allowed are {', '.join(choices)}")


def first_picture(wanted: Wanted) -> Any:
    """The first init picture. Raises BadScriptArgs where there is none."""
    if not wanted.init_images:
        raise BadScriptArgs("init_images is empty: the script needs a picture")
    return wanted.init_images[0]
