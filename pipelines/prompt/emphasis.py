"""The emphasis grammar: `(more)`, `[less]`, `(this much:1.3)` and `BREAK` to weighted text.

Never raises and takes linear time, whatever the text. Round and square brackets each nest among
themselves but may cross each other, so each kind keeps its own stack.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

#: one step of emphasis
STEP = 1.1

_TOKEN = re.compile(
    r"\\[()\[\]\\]"  # an escaped bracket or backslash
    r"|[()\[\]]"
    r"|:\s*+[+-]?(?:\d++(?:\.\d*+)?|\.\d++)\s*+\)"  # :1.3)
    r"|[^\\()\[\]:]+"
    r"|[\\:]"
)
_BREAK = re.compile(r"\bBREAK\b")


@dataclass(frozen=True, slots=True)
class Span:
    """Text of one weight; `breaks` marks the place of a BREAK, and then `text` is that word."""

    text: str
    weight: float
    breaks: bool = False


@dataclass(slots=True)
class _Brackets:
    """One kind of bracket: the factor of each opened one, and which stand open."""

    default: float
    factors: list[float] = field(default_factory=list)
    open: list[int] = field(default_factory=list)

    def opened(self) -> int:
        self.factors.append(self.default)
        self.open.append(len(self.factors) - 1)
        return len(self.factors) - 1

    def closed(self, factor: float) -> None:
        self.factors[self.open.pop()] = factor


@dataclass(frozen=True, slots=True)
class _Event:
    """A piece of text, or the start (`bracket` >= 0) or end (-1) of a bracket of a kind."""

    kind: str
    text: str = ""
    bracket: int = -1


def _scan(prompt: str) -> tuple[list[_Event], dict[str, _Brackets]]:
    """The events of a prompt in order; the brackets' factors are known only at its end."""
    kinds = {"(": _Brackets(STEP), "[": _Brackets(1 / STEP)}
    events: list[_Event] = []
    for token in _TOKEN.findall(prompt):
        if token in kinds:
            events.append(_Event(token, bracket=kinds[token].opened()))
        elif token == "]" and kinds["["].open:
            kinds["["].closed(1 / STEP)
            events.append(_Event("["))
        elif token == ")" and kinds["("].open:
            kinds["("].closed(STEP)
            events.append(_Event("("))
        elif token[0] == ":" and len(token) > 1 and kinds["("].open and _finite(token):
            kinds["("].closed(float(token[1:-1]))
            events.append(_Event("("))
        elif token[0] == "\\":
            # a backslash that escapes nothing is dropped
            events.append(_Event("text", token[1:]))
        else:
            events.append(_Event("text", token))
    return events, kinds


def _finite(token: str) -> bool:
    return math.isfinite(float(token[1:-1]))


def _weighted(prompt: str) -> Iterator[Span]:
    """Every piece of text with the product of the brackets around it."""
    events, kinds = _scan(prompt)
    products = {kind: [1.0] for kind in kinds}
    for event in events:
        if event.kind == "text":
            weight = products["("][-1] * products["["][-1]
            yield from _split_breaks(event.text, weight)
        elif event.bracket >= 0:
            factor = kinds[event.kind].factors[event.bracket]
            products[event.kind].append(products[event.kind][-1] * factor)
        else:
            products[event.kind].pop()


def _split_breaks(text: str, weight: float) -> Iterator[Span]:
    """Text around BREAK words; inside brackets BREAK is no break but a word of the negated weight.

    The negation is the reference's own behaviour: it marks a break by weight -1 and then
    multiplies the mark by the brackets around it.
    """
    parts = _BREAK.split(text)
    for i, part in enumerate(parts):
        if i:
            yield Span("BREAK", -weight, breaks=weight == 1.0)
        part = part.lstrip() if i else part
        part = part.rstrip() if i + 1 < len(parts) else part
        yield Span(part, weight)


def parse_emphasis(prompt: str) -> list[Span]:
    """Weighted spans of `prompt`; neighbours of equal weight are joined. At least one span."""
    spans: list[Span] = []
    run: list[str] = []
    weight = 1.0

    def flush() -> None:
        if run and (text := "".join(run)):
            spans.append(Span(text, weight))
        run.clear()

    for span in _weighted(prompt):
        if span.breaks or span.weight != weight:
            flush()
            weight = span.weight
        if span.breaks:
            spans.append(span)
        else:
            run.append(span.text)
    flush()
    return spans or [Span("", 1.0)]
