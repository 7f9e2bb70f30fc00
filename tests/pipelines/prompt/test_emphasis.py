"""The emphasis grammar, by examples, by generated prompts, and by hostile ones."""

import math
import time
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.prompt.emphasis import Span, parse_emphasis

MORE, LESS = 1.1, 1 / 1.1
Weighted = list[tuple[str, float]]


def parsed(prompt: str) -> Weighted:
    return [(span.text, span.weight) for span in parse_emphasis(prompt)]


EXAMPLES: dict[str, Weighted] = {
    "": [("", 1)],
    "a cat": [("a cat", 1)],
    "(x)": [("x", MORE)],
    "[x]": [("x", LESS)],
    "((x))": [("x", MORE**2)],
    "[[x]]": [("x", LESS**2)],
    "(x:1.3)": [("x", 1.3)],
    "(x: 1.3 )": [("x", 1.3)],
    "(x:\t1.3\n)": [("x", 1.3)],
    "(x:+1.3)": [("x", 1.3)],
    "(x:-1)": [("x", -1)],
    "(x:0)": [("x", 0)],
    "(x:.5)": [("x", 0.5)],
    "(x:2.)": [("x", 2)],
    "(x:007)": [("x", 7)],
    "((x:1.5) y)": [("x", 1.5 * MORE), (" y", MORE)],
    "((x:2):3)": [("x", 6)],
    "([x:2])": [("x:2", 1.0)],
    "[(x:2)]": [("x", 2 / 1.1)],
    "a (b) c": [("a ", 1), ("b", MORE), (" c", 1)],
    "a (b c (d:1.2) e:1.3) f": [
        ("a ", 1),
        ("b c ", 1.3),
        ("d", 1.2 * 1.3),
        (" e", 1.3),
        (" f", 1),
    ],
    "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).": [
        ("a ", 1),
        ("house", 1.3 * MORE**2),
        (" ", MORE),
        ("on", 1.0),
        (" a ", MORE),
        ("hill", 0.5 * MORE),
        (", sun, ", MORE),
        ("sky", MORE**4),
        (".", MORE),
    ],
    # unclosed brackets reach to the end
    "a (b": [("a ", 1), ("b", MORE)],
    "a [b (c": [("a ", 1), ("b ", LESS), ("c", LESS * MORE)],
    "(a:1.3": [("a:1.3", MORE)],
    "((a:1.3)": [("a", 1.3 * MORE)],
    # closers of nothing are text
    "a) b": [("a) b", 1)],
    "a] b": [("a] b", 1)],
    "a:1.2) b": [("a:1.2) b", 1)],
    "[a)]": [("a)", LESS)],
    "[a:1.2)]": [("a:1.2)", LESS)],
    "(a])": [("a]", MORE)],
    "(a))b": [("a", MORE), (")b", 1)],
    # numbers that are no weight
    "a:1.2": [("a:1.2", 1)],
    "[x:1.2]": [("x:1.2", LESS)],
    "(a:1.2:1.3)": [("a:1.2", 1.3)],
    "(a:1.2.3)": [("a:1.2.3", MORE)],
    "(a:1e5)": [("a:1e5", MORE)],
    "(a:)": [("a:", MORE)],
    "(a:.)": [("a:.", MORE)],
    "(a:--1)": [("a:--1", MORE)],
    "(a:nan)": [("a:nan", MORE)],
    "(a:1 2)": [("a:1 2", MORE)],
    "(a:1,5)": [("a:1,5", MORE)],
    "(a:1.3 b)": [("a:1.3 b", MORE)],
    # nothing
    "()": [("", 1)],
    "[]": [("", 1)],
    "(:1.5)": [("", 1)],
    "a()b": [("ab", 1)],
    "a([])b": [("ab", 1)],
    "{x} <y>": [("{x} <y>", 1)],
    # escapes
    r"\(x\)": [("(x)", 1)],
    r"\[x\]": [("[x]", 1)],
    r"a\\b": [("a\\b", 1)],
    r"(\(x\))": [("(x)", MORE)],
    r"\\(x)": [("\\", 1), ("x", MORE)],
    r"\\\(x)": [("\\(x)", 1)],
    # neighbours of the same weight are one
    "(a)(b)": [("ab", MORE)],
    "(a) (b)": [("a", MORE), (" ", 1), ("b", MORE)],
    # each kind of bracket closes its own
    "(a[b)c]": [("a", MORE), ("b", 1.0), ("c", LESS)],
    "[a(b]c:1.5)": [("a", LESS), ("b", LESS * 1.5), ("c", 1.5)],
    # BREAK
    "a BREAK b": [("a", 1), ("BREAK", -1), ("b", 1)],
    "a\n BREAK \tb": [("a", 1), ("BREAK", -1), ("b", 1)],
    "a,BREAK,b": [("a,", 1), ("BREAK", -1), (",b", 1)],
    "BREAK": [("BREAK", -1)],
    "a BREAK BREAK b": [("a", 1), ("BREAK", -1), ("BREAK", -1), ("b", 1)],
    "BREAKS unBREAK break BREAK_": [("BREAKS unBREAK break BREAK_", 1)],
    "(a) BREAK (b)": [("a", MORE), ("BREAK", -1), ("b", MORE)],
    "(a BREAK b)": [("a", MORE), ("BREAK", -MORE), ("b", MORE)],
    "(a BREAK b:1.3)": [("a", 1.3), ("BREAK", -1.3), ("b", 1.3)],
    "(a:-1) BREAK b": [("a", -1), ("BREAK", -1), ("b", 1)],
}


@pytest.mark.parametrize("prompt", EXAMPLES)
def test_examples(prompt: str) -> None:
    found, expected = parsed(prompt), EXAMPLES[prompt]
    assert [text for text, _ in found] == [text for text, _ in expected]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in expected])


def breaks(prompt: str) -> list[bool]:
    return [span.breaks for span in parse_emphasis(prompt) if span.text == "BREAK"]


def test_a_break_breaks_where_no_bracket_weighs_it() -> None:
    assert breaks("a BREAK b BREAK c") == [True, True]
    assert breaks("(a BREAK b:1.3)") == [False]
    assert breaks("(a BREAK b:1)") == [True]
    assert breaks("(a BREAK b:-1)") == [False]
    assert breaks("(a) BREAK [b BREAK c]") == [True, False]
    assert breaks("(BREAK") == [False]
    assert not any(span.breaks for span in parse_emphasis("(a:-1)(b:-1)"))


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt, and the weight of each of its letters."""

    prompt: str
    letters: Weighted


def weighted(parts: list[Rendered], opener: str, closer: str, factor: float) -> Rendered:
    letters = [(letter, weight * factor) for part in parts for letter, weight in part.letters]
    return Rendered(opener + "".join(part.prompt for part in parts) + closer, letters)


ESCAPES = {letter: "\\" + letter for letter in "()[]\\"}
PLAIN = st.text(st.sampled_from("ab, .1é()[]\\"), min_size=1, max_size=4).map(
    lambda text: Rendered(
        "".join(ESCAPES.get(letter, letter) for letter in text), [(letter, 1.0) for letter in text]
    )
)
WEIGHTS = st.decimals(-3, 3, allow_nan=False, places=2)


def around(inner: st.SearchStrategy[Rendered]) -> st.SearchStrategy[Rendered]:
    parts = st.lists(inner, max_size=3)
    return st.one_of(
        parts.map(lambda inside: weighted(inside, "(", ")", MORE)),
        parts.map(lambda inside: weighted(inside, "[", "]", LESS)),
        st.builds(
            lambda inside, weight: weighted(inside, "(", f":{weight})", float(weight)),
            parts,
            WEIGHTS,
        ),
    )


PROMPTS = st.lists(st.recursive(PLAIN, around, max_leaves=12), max_size=5)


@given(PROMPTS)
@settings(deadline=None)
def test_any_nesting_multiplies(parts: list[Rendered]) -> None:
    whole = weighted(parts, "", "", 1.0)
    found = [(letter, weight) for text, weight in parsed(whole.prompt) for letter in text]
    assert [letter for letter, _ in found] == [letter for letter, _ in whole.letters]
    expected = [weight for _, weight in whole.letters]
    assert [weight for _, weight in found] == pytest.approx(expected, abs=1e-9)


WITHOUT_BRACKETS = st.text(st.characters(exclude_characters="()[]\\"))


@given(WITHOUT_BRACKETS.filter(lambda text: "BREAK" not in text))
@settings(deadline=None)
@example("a: 1.3, b\n :) BREA K")
def test_text_without_brackets_is_kept_as_it_is(text: str) -> None:
    assert parse_emphasis(text) == [Span(text, 1.0)]


PIECES = [*"()[]\\:1+-. \na٣²", "1.3", "BREAK"]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
@settings(deadline=None, max_examples=400)
def test_nothing_raises_and_neighbours_differ(prompt: str) -> None:
    spans = parse_emphasis(prompt)
    assert spans
    assert set("".join(span.text for span in spans)) <= set(prompt)
    assert all(math.isfinite(span.weight) for span in spans)
    for span, following in pairwise(spans):
        assert span.weight != following.weight or span.text == following.text == "BREAK"


LONG, VERY_LONG = 20_000, 500_000
HOSTILE = {
    "open round": "(a" * LONG,
    "open square": "[a" * LONG,
    "both open": "([" * LONG,
    "nested": "(" * LONG + "a" + ")" * LONG,
    "closed": "(a)" * LONG,
    "closers": ")" * LONG,
    "colons": ":" * LONG,
    "numbers": ":1" * LONG,
    "weights": ":1)" * LONG,
    "opened weights": "(" * LONG + ":1)" * LONG,
    "backslashes": "\\" * LONG,
    "escapes": "\\(" * LONG,
    "breaks": "BREAK " * LONG,
    "breaks in brackets": "(BREAK" * LONG,
    "spaces": " " * VERY_LONG + "BREAK" + " " * VERY_LONG,
    "spaces in a weight": "(a:" + " " * VERY_LONG + "x",
    "digits": "(a:" + "1" * VERY_LONG + ")",
    "open digits": "(a:" + "1" * VERY_LONG,
    "decimals": "(a:0." + "1" * VERY_LONG + ")",
    "colons and spaces": ": " * LONG,
    "crossing": "(a[b)c]" * (LONG // 5),
    "words": "a BREAK (b:1.2), " * (LONG // 10),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_long_prompts_take_linear_time(kind: str) -> None:
    """Anything quadratic would take ten seconds and more at this length."""
    start = time.thread_time()
    spans = parse_emphasis(HOSTILE[kind])
    assert time.thread_time() - start < 2
    assert spans


@pytest.mark.parametrize("digits", [400, LONG])
def test_a_weight_beyond_all_numbers_is_text(digits: int) -> None:
    assert parsed("(a:" + "9" * digits + ")") == [("a:" + "9" * digits + ")", MORE)]
