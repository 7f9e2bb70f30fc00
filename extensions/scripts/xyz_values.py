"""The values of an axis of an X/Y/Z plot, from the text or the list that a client sends."""

import csv
import io
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from ..limits import MAX_GENERATIONS
from ..protocol import BadScriptArgs

Kind = Literal["whole", "number", "text", "order"]
Value = int | float | str | tuple[str, ...]

_WHOLE = r"([+-]?\s*\d+)"
_NUMBER = r"([+-]?\s*\d+(?:\.\d*)?)"
_RANGE = r"\s*{0}\s*-\s*{0}(?:\s*\(([+-]{1})\s*\)|\s*\[(\d+)\s*\])?\s*"
_WHOLE_RANGE = re.compile(_RANGE.format(_WHOLE, r"\d+"))
_NUMBER_RANGE = re.compile(_RANGE.format(_NUMBER, r"\d+(?:\.\d*)?"))


def split(text: str) -> list[str]:
    """The entries of comma-separated values, quotes and all, without the blanks around them."""
    try:
        rows = list(csv.reader(io.StringIO(text), skipinitialspace=True))
    except csv.Error as error:
        raise BadScriptArgs(f"values {text!r:.80} are no comma-separated list: {error}") from None
    return [entry.strip() for row in rows for entry in row]


def joined(entries: Sequence[str]) -> str:
    """Entries as comma-separated values, quoted where need be."""
    text = io.StringIO()
    csv.writer(text).writerow(entries)
    return text.getvalue().strip()


def values(label: str, kind: Kind, entries: Sequence[str]) -> list[Value]:
    """What the entries of axis `label` mean; numbers may be ranges: `1-5`, `1-5(+2)`, `1-5[3]`.

    Raises BadScriptArgs for an entry that is none, and for more values than there may be cells.
    """
    if kind == "order":
        if math.factorial(min(len(entries), 20)) > MAX_GENERATIONS:
            raise BadScriptArgs(f"{label}: {len(entries)} parts have too many orders")
        return list(itertools.permutations(entries))
    found: list[Value] = []
    for entry in entries:
        if kind == "text":
            found.append(entry)
        elif entry.strip():
            found += _numbers(label, kind, entry)
        if len(found) > MAX_GENERATIONS:
            raise BadScriptArgs(f"{label}: more than {MAX_GENERATIONS} values")
    return found


def _numbers(label: str, kind: Kind, entry: str) -> Iterator[int] | Iterator[float]:
    try:
        return iter(_whole(entry)) if kind == "whole" else iter(_fractional(entry))
    except (ValueError, OverflowError):
        raise BadScriptArgs(
            f"{label} {entry!r:.80}: allowed are numbers and ranges: 1-5, 1-5 (+2), 1-5 [3]"
        ) from None


def _whole(entry: str) -> Sequence[int]:
    match = _WHOLE_RANGE.fullmatch(entry)
    if match is None:
        return [int(entry)]
    start, end = int(match[1]), int(match[2])
    if match[4]:
        return [int(value) for value in np.linspace(start, end, _bounded(int(match[4])))]
    steps = range(start, end + 1, int(match[3] or 1))
    _bounded(len(steps))
    return steps


def _fractional(entry: str) -> Sequence[float]:
    match = _NUMBER_RANGE.fullmatch(entry)
    if match is None:
        number = float(entry)
        if not math.isfinite(number):
            raise ValueError(entry)
        return [number]
    start, end = float(match[1]), float(match[2])
    if match[4]:
        return [float(value) for value in np.linspace(start, end, _bounded(int(match[4])))]
    step = float(match[3] or 1)
    if not step:
        raise ValueError(entry)
    _bounded(math.ceil((end + step - start) / step))
    return [float(value) for value in np.arange(start, end + step, step)]


def _bounded(count: int) -> int:
    if count > MAX_GENERATIONS:
        raise ValueError(count)
    return count
