"""`one AND other:0.5`: prompts that each guide the picture with a weight of their own."""

import math
import re
from dataclasses import dataclass

_AND = re.compile(r"\bAND\b")
_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?|\d*\.\d+)")


@dataclass(frozen=True, slots=True)
class Part:
    """One prompt of a composition."""

    text: str
    weight: float


def split_composition(prompt: str) -> tuple[Part, ...]:
    """The parts of a positive prompt; a single one where there is no AND.

    A number after the last colon of a part is its weight, even without any AND: that is the
    reference's behaviour, and scales the guidance.
    """
    return tuple(_part(piece) for piece in _AND.split(prompt))


def _part(piece: str) -> Part:
    text = piece.rstrip()
    before, colon, after = text.rpartition(":")
    if colon and _NUMBER.fullmatch(after) and math.isfinite(float(after)):
        return Part(before.rstrip(), float(after))
    return Part(text, 1.0)
