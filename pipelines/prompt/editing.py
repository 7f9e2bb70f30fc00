"""Prompts that change while they are sampled: `[from:to:when]`, `[to:when]` and `[one|other]`.

One pass with a stack, in linear time; never raises. What is no valid form stays text, and so do the
brackets around it; a `|` that separates nothing makes the whole prompt plain text, as the
reference's grammar has it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

_TOKEN = re.compile(r"(?:[^\\\[\]():|]|\\.)+|[\[\]():|]|\\", re.DOTALL)
_NUMBER = re.compile(r"\s*([+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*")
_CLOSES: Mapping[str, str] = MappingProxyType({"(": ")", "[": "]"})


@dataclass(frozen=True, slots=True)
class _Switch:
    """`before` up to the step `when` names, then `after`."""

    before: "_Text"
    after: "_Text"
    when: str


@dataclass(frozen=True, slots=True)
class _Alternation:
    """Each choice for one step, in turn."""

    choices: "tuple[_Text, ...]"


@dataclass(frozen=True, slots=True)
class _Group:
    """A bracket that is text; kept apart, so that deep nesting costs no copying."""

    pieces: "_Text"


_Node: TypeAlias = str | _Switch | _Alternation | _Group
_Text: TypeAlias = tuple[_Node, ...]


@dataclass(slots=True)
class _Frame:
    """An open bracket and what has followed it: parts, and the separators between them."""

    opener: str
    parts: list[list[_Node]] = field(default_factory=lambda: [[]])
    separators: list[str] = field(default_factory=list)
    broken: bool = False

    def flat(self) -> list[_Node]:
        """Everything as it was written, without the brackets."""
        written = list(self.parts[0])
        for separator, part in zip(self.separators, self.parts[1:], strict=True):
            written += [separator, *part]
        return written


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What the numbers of a switch count: `steps` of this pass, after those of an earlier one.

    `old` takes a number below 1 as a share of the steps and others as steps, whatever their
    spelling.
    """

    steps: int
    earlier_steps: int = 0
    earlier_shares: float = 0.0
    old: bool = False

    def step(self, when: str) -> int:
        """The last step before the switch, at most `steps`; below 1 for one that is past."""
        number = float(when)
        if self.old:
            value = number * self.steps if number < 1 else number
        elif "." in when:
            value = (number - self.earlier_shares) * self.steps
        else:
            value = number - self.earlier_steps
        return self.steps if value >= self.steps else int(max(value, -1.0))


@dataclass(frozen=True, slots=True)
class Stage:
    """The prompt's text up to and including step `end` (from 1)."""

    end: int
    text: str


def parse_editing(prompt: str, timing: Timing) -> tuple[Stage, ...]:
    """The texts of a prompt over the steps of a pass, in order; the last ends with the pass."""
    parsed = _parse(prompt)
    if parsed is None:
        return (Stage(timing.steps, prompt),)
    ends = sorted({*_ends(parsed, timing), timing.steps})
    return tuple(Stage(end, "".join(_at(parsed, end, timing))) for end in ends)


def _parse(prompt: str) -> _Text | None:
    """The prompt as a tree; None where a `|` stands outside an alternation."""
    stack = [_Frame("")]
    for token in _TOKEN.findall(prompt):
        top = stack[-1]
        if token in _CLOSES:
            stack.append(_Frame(token))
        elif token in ("]", ")"):
            if token != _CLOSES.get(top.opener):
                _break_open(stack)
                stack[0].parts[-1].append(token)
            elif not _close(stack, token):
                return None
        elif token in ":|":
            top.separators.append(token)
            top.parts.append([])
        elif token == "\\":
            return None
        else:
            top.parts[-1].append(token)
    _break_open(stack)
    return None if "|" in stack[0].separators else tuple(stack[0].flat())


def _break_open(stack: list[_Frame]) -> None:
    """Turn every open bracket into text of the outermost level."""
    for frame in stack[1:]:
        stack[0].parts[-1].append(frame.opener)
        for part, separator in zip(frame.parts, [*frame.separators, ""], strict=True):
            stack[0].parts[-1] += part
            if separator:
                stack[0].separators.append(separator)
                stack[0].parts.append([])
    del stack[1:]


def _close(stack: list[_Frame], closer: str) -> bool:
    """Put the finished bracket into its parent; False for a `|` that separates nothing."""
    frame = stack.pop()
    made = None if frame.broken else _form(frame)
    if made is not None:
        stack[-1].parts[-1].append(made)
        return True
    if "|" in frame.separators:
        return False
    # an invalid bracket is text, and no bracket around it can be a form either
    stack[-1].broken = True
    stack[-1].parts[-1].append(_Group((frame.opener, *frame.flat(), closer)))
    return True


def _form(frame: _Frame) -> _Node | None:
    """What a bracket means; None for no form of the grammar. Emphasis stays as it is written."""
    kinds = set(frame.separators)
    if frame.opener == "(":
        plain = kinds <= {":"} and len(frame.parts) <= 2
        return _Group(("(", *frame.flat(), ")")) if plain else None
    if not kinds:
        return _Group(("[", *frame.flat(), "]"))
    if kinds == {"|"}:
        return _Alternation(tuple(tuple(part) for part in frame.parts))
    when = frame.parts[-1]
    if kinds != {":"} or len(frame.parts) > 3 or len(when) != 1 or not isinstance(when[0], str):
        return None
    number = _NUMBER.fullmatch(when[0])
    if number is None:
        return None
    before = tuple(frame.parts[0]) if len(frame.parts) == 3 else ()
    return _Switch(before, tuple(frame.parts[-2]), number[1])


def _ends(text: _Text, timing: Timing) -> Iterator[int]:
    """The steps after which the text changes."""
    waiting: list[_Node] = list(text)
    while waiting:
        node = waiting.pop()
        if isinstance(node, _Switch):
            end = timing.step(node.when)
            if end >= 1:
                yield end
            waiting += [*node.before, *node.after]
        elif isinstance(node, _Alternation):
            yield from range(1, timing.steps + 1)
            waiting += [each for choice in node.choices for each in choice]
        elif isinstance(node, _Group):
            waiting += node.pieces


def _at(text: _Text, step: int, timing: Timing) -> Iterator[str]:
    """The pieces of the text at `step`; a stack, since prompts may nest deeply."""
    waiting: list[_Node] = list(reversed(text))
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, _Switch):
            chosen = node.before if step <= timing.step(node.when) else node.after
            waiting += reversed(chosen)
        elif isinstance(node, _Group):
            waiting += reversed(node.pieces)
        else:
            waiting += reversed(node.choices[(step - 1) % len(node.choices)])
