"""AND and its weights: by examples and by generated prompts."""

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.prompt.composition import Part, split_composition

EXAMPLES: dict[str, list[tuple[str, float]]] = {
    "": [("", 1)],
    "a cat": [("a cat", 1)],
    "a cat AND a dog": [("a cat", 1), (" a dog", 1)],
    "a AND b AND c": [("a", 1), (" b", 1), (" c", 1)],
    "a :1.2 AND b :0.6 AND c:-0.3": [("a", 1.2), (" b", 0.6), (" c", -0.3)],
    # the number
    "a:2": [("a", 2)],
    "a :1.2": [("a", 1.2)],
    "a:1.": [("a", 1)],
    "a:.5": [("a", 0.5)],
    "a:-.5": [("a", -0.5)],
    "a:+.5": [("a", 0.5)],
    "a: 1.5 ": [("a", 1.5)],
    "a:0": [("a", 0)],
    "a:b:1.5": [("a:b", 1.5)],
    "a:1.5:2": [("a:1.5", 2)],
    ":2": [("", 2)],
    "a:1.2 AND": [("a", 1.2), ("", 1)],
    # no number
    "a:": [("a:", 1)],
    "a:b": [("a:b", 1)],
    "a:1.2.3": [("a:1.2.3", 1)],
    "a:1e3": [("a:1e3", 1)],
    "a:.": [("a:.", 1)],
    "a:-": [("a:-", 1)],
    "a:nan": [("a:nan", 1)],
    "a:inf": [("a:inf", 1)],
    "a:" + "9" * 400: [("a:" + "9" * 400, 1)],
    "a:1 b": [("a:1 b", 1)],
    "(a:1.2)": [("(a:1.2)", 1)],
    "[a:b:3]": [("[a:b:3]", 1)],
    # whole words in capitals only
    "cats and dogs": [("cats and dogs", 1)],
    "cats And dogs": [("cats And dogs", 1)],
    "SAND ANDY BRAND": [("SAND ANDY BRAND", 1)],
    "a_AND_b": [("a_AND_b", 1)],
    "a,AND,b": [("a,", 1), (",b", 1)],
    "a\nAND\nb": [("a", 1), ("\nb", 1)],
    "AND": [("", 1), ("", 1)],
    "(a AND b)": [("(a", 1), (" b)", 1)],
    "[a:0.5] AND [b:c:2]": [("[a:0.5]", 1), (" [b:c:2]", 1)],
}


@pytest.mark.parametrize("prompt", EXAMPLES, ids=lambda prompt: prompt[:20])
def test_examples(prompt: str) -> None:
    assert [(part.text, part.weight) for part in split_composition(prompt)] == EXAMPLES[prompt]


@given(st.text(st.sampled_from("AND :.+-0123ab\n") | st.characters(), max_size=60))
@settings(deadline=None)
def test_any_prompt_has_parts(prompt: str) -> None:
    parts = split_composition(prompt)
    assert len(parts) == len(re.findall(r"\bAND\b", prompt)) + 1
    assert all(math.isfinite(part.weight) for part in parts)


@given(
    st.lists(
        st.tuples(
            st.text(st.sampled_from("abc ,("), max_size=8).map(str.rstrip),
            st.decimals(-9, 9, places=3).map(float),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_what_is_joined_comes_apart_again(parts: list[tuple[str, float]]) -> None:
    written = " AND".join(f"{text} :{weight:.3f}" for text, weight in parts)
    # a part that begins with a letter would make another word of the AND before it
    spaced = written.replace(" AND", " AND ")
    found = split_composition(spaced)
    first = [Part(parts[0][0], parts[0][1])]
    assert list(found) == first + [Part(f" {text}".rstrip(), weight) for text, weight in parts[1:]]


def test_a_very_long_number_takes_no_time() -> None:
    (part,) = split_composition("a:" + "1" * 100_000 + "x")
    assert part.weight == 1
    assert len(split_composition("a AND " * 20_000)) == 20_001
