"""Prompts that change on the way: by examples, by generated prompts, and by hostile ones."""

import re
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.prompt.editing import Stage, Timing, parse_editing

Stages = list[tuple[int, str]]


def staged(prompt: str, steps: int = 10, **timing: float) -> Stages:
    parsed = parse_editing(prompt, Timing(steps=steps, **timing))  # type: ignore[arg-type]
    return [(stage.end, stage.text) for stage in parsed]


def at(step: int, before: str, after: str) -> Stages:
    return [(step, before), (10, after)]


EXAMPLES: dict[str, Stages] = {
    # adding, replacing, removing
    "a [b:3]": at(3, "a ", "a b"),
    "a [b:c:3] d": at(3, "a b d", "a c d"),
    "a [b::3] c": at(3, "a b c", "a  c"),
    "[b:3]": at(3, "", "b"),
    "[:b:3]": at(3, "", "b"),
    "[::3]": at(3, "", ""),
    "[:3]": at(3, "", ""),
    # what the number counts
    "[a:b:0.5]": at(5, "a", "b"),
    "[a:b:.5]": at(5, "a", "b"),
    "[a:b:0.25]": at(2, "a", "b"),
    "[a:b:0.99]": at(9, "a", "b"),
    "[a:b:1]": at(1, "a", "b"),
    "[a:b:1.0]": [(10, "a")],
    "[a:b:1.]": [(10, "a")],
    "[a:b:10]": [(10, "a")],
    "[a:b:11]": [(10, "a")],
    "[a:b:999999999999999999999]": [(10, "a")],
    "[a:b:1.5]": [(10, "a")],
    "[a:b:1e400]": [(10, "a")],
    "[a:b:0]": [(10, "b")],
    "[a:b:0.0]": [(10, "b")],
    "[a:b:0.05]": [(10, "b")],
    "[a:b:-3]": [(10, "b")],
    "[a:b:-0.5]": [(10, "b")],
    "[a:b:+3]": at(3, "a", "b"),
    "[a:b:3e0]": at(3, "a", "b"),
    "[a:b:5e-1]": [(10, "b")],
    "[a:b:5.0e-1]": at(5, "a", "b"),
    # spaces: free around the number, kept elsewhere
    "[a:b: 3]": at(3, "a", "b"),
    "[a:b:3 ]": at(3, "a", "b"),
    "[a:b:\t3\n]": at(3, "a", "b"),
    "x [ a : b :3] y": at(3, "x  a  y", "x  b  y"),
    "a [b:3] c": at(3, "a  c", "a b c"),
    # several in a row
    "[a:b:2][c:d:5]": [(2, "ac"), (5, "bc"), (10, "bd")],
    "[a:b:5][c:d:2]": [(2, "ac"), (5, "ad"), (10, "bd")],
    "[a:b:3][c:d:3]": at(3, "ac", "bd"),
    # nested
    "[[a:b:2]:c:5]": [(2, "a"), (5, "b"), (10, "c")],
    "[a:[b:c:5]:2]": [(2, "a"), (5, "b"), (10, "c")],
    "[a:[b:c:2]:5]": [(2, "a"), (5, "a"), (10, "c")],
    "x [[y::5]] z": at(5, "x [y] z", "x [] z"),
    "[[[a]]:4]": at(4, "", "[[a]]"),
    "(a [b:3]:1.2)": at(3, "(a :1.2)", "(a b:1.2)"),
    "([b:3])": at(3, "()", "(b)"),
    "[(a:2):3]": at(3, "", "(a:2)"),
    "[(a:1.2):(b:1.3):3]": at(3, "(a:1.2)", "(b:1.3)"),
    "[a (b:1.1) c:d:3]": at(3, "a (b:1.1) c", "d"),
    # emphasis is left as it is
    "[x]": [(10, "[x]")],
    "[]": [(10, "[]")],
    "()": [(10, "()")],
    "(x)": [(10, "(x)")],
    "(x:1.2)": [(10, "(x:1.2)")],
    "(x:y)": [(10, "(x:y)")],
    # what is no form stays as it is written
    "": [(10, "")],
    "test": [(10, "test")],
    "a: b, c:3": [(10, "a: b, c:3")],
    "[a:b]": [(10, "[a:b]")],
    "[a:b:c]": [(10, "[a:b:c]")],
    "[a:b:c:3]": [(10, "[a:b:c:3]")],
    "[a:b:]": [(10, "[a:b:]")],
    "[a:b:3x]": [(10, "[a:b:3x]")],
    "[a:b:3 4]": [(10, "[a:b:3 4]")],
    "[a:b:(3)]": [(10, "[a:b:(3)]")],
    "[a:b:[3]]": [(10, "[a:b:[3]]")],
    "[a:b:nan]": [(10, "[a:b:nan]")],
    "[a:b:inf]": [(10, "[a:b:inf]")],
    "[a:b:1_0]": [(10, "[a:b:1_0]")],
    "[a:b:0x3]": [(10, "[a:b:0x3]")],
    "[a:b:٣]": [(10, "[a:b:٣]")],
    "(a:b:3)": [(10, "(a:b:3)")],
    # nor can a form stand around such a bracket, but one inside it can
    "[[a:b:c]:3]": [(10, "[[a:b:c]:3]")],
    "[(a:b:c):3]": [(10, "[(a:b:c):3]")],
    "[a:b:c:[d:e:3]]": at(3, "[a:b:c:d]", "[a:b:c:e]"),
    "(a:b:[c:3])": at(3, "(a:b:)", "(a:b:c)"),
    # brackets that do not match
    "a [b": [(10, "a [b")],
    "a ]b": [(10, "a ]b")],
    "a [b [c:3]": at(3, "a [b ", "a [b c"),
    "a [b:3] c] (d": at(3, "a  c] (d", "a b c] (d"),
    "([a:b:3)]": [(10, "([a:b:3)]")],
    "((x][:y:z [w:3]": at(3, "((x][:y:z ", "((x][:y:z w"),
    # escaped brackets are text
    r"\[a:b:3\]": [(10, r"\[a:b:3\]")],
    r"[a\]:b:3]": at(3, r"a\]", "b"),
    r"[a\:b:c:3]": at(3, r"a\:b", "c"),
    r"[a\|b:3]": at(3, "", r"a\|b"),
    r"\\[b:3]": at(3, r"\\", r"\\b"),
    # unlike in the emphasis grammar, other brackets have no meaning at all
    "{a|b": [(10, "{a|b")],
    "[{a}:3]": at(3, "", "{a}"),
}


@pytest.mark.parametrize("prompt", EXAMPLES)
def test_examples(prompt: str) -> None:
    assert staged(prompt) == EXAMPLES[prompt]


ALTERNATIONS: dict[str, list[str]] = {
    "[a|b]": ["a", "b", "a", "b"],
    "x [a|b|c] y": ["x a y", "x b y", "x c y", "x a y"],
    "[a|b] [c|d|e]": ["a c", "b d", "a e", "b c"],
    "[a|]": ["a", "", "a", ""],
    "[|a]": ["", "a", "", "a"],
    "[a||b]": ["a", "", "b", "a"],
    "[fe|]male": ["female", "male", "female", "male"],
    "[a|||]b": ["ab", "b", "b", "b"],
    "[a|(b:1.1)]": ["a", "(b:1.1)", "a", "(b:1.1)"],
    "([a|b]:1.2)": ["(a:1.2)", "(b:1.2)", "(a:1.2)", "(b:1.2)"],
    "[[a|b]|c]": ["a", "c", "a", "c"],
    "[[a|b|c]|d]": ["a", "d", "c", "d"],
    "[a|[b:c:2]]": ["a", "b", "a", "c"],
    "[[a|b]:c:2]": ["a", "b", "c", "c"],
    "[[x]|y]": ["[x]", "y", "[x]", "y"],
    "[a|a]": ["a", "a", "a", "a"],
}


@pytest.mark.parametrize("prompt", ALTERNATIONS)
def test_alternatives_take_turns(prompt: str) -> None:
    assert staged(prompt, 4) == list(enumerate(ALTERNATIONS[prompt], 1))


@pytest.mark.parametrize(
    "prompt",
    [
        "a | b",
        "|",
        "a | [b:3]",
        "(a|b)",
        "[b:3] (a|b:1.2)",
        "[a|b",
        "[a|b:3]",
        "[a:b|c:3]",
        "[a|b:c]",
        "[x:3] [a|b:c:3]",
        "[a|b)",
        "[c:3] \\",
    ],
)
def test_a_stroke_that_separates_nothing_makes_all_of_it_text(prompt: str) -> None:
    assert staged(prompt) == [(10, prompt)]


@pytest.mark.parametrize(
    ("when", "step"),
    [("0.5", 5), ("0.99", 9), ("1", 1), ("1.0", 1), ("2.7", 2), ("3", 3), ("0", 10), ("-1", 10)],
)
def test_the_old_rule_takes_what_is_below_1_as_a_share(when: str, step: int) -> None:
    expected = at(step, "a", "b") if step < 10 else [(10, "b")]
    assert staged(f"[a:b:{when}]", old=True) == expected


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("25", at(5, "a", "b")),
        ("20", [(10, "b")]),
        ("3", [(10, "b")]),
        ("1.5", at(5, "a", "b")),
        ("1.25", at(2, "a", "b")),
        ("0.9", [(10, "b")]),
        ("2.0", [(10, "a")]),
        ("99", [(10, "a")]),
    ],
)
def test_a_second_pass_counts_on_from_the_first(when: str, expected: Stages) -> None:
    assert staged(f"[a:b:{when}]", earlier_steps=20, earlier_shares=1.0) == expected


@pytest.mark.parametrize("steps", [1, 2, 3, 20, 150])
def test_shares_are_rounded_down(steps: int) -> None:
    stages = staged("[a:b:0.5]", steps)
    half = steps // 2
    assert stages == ([(half, "a"), (steps, "b")] if half else [(steps, "b")])


def test_a_stage_is_a_value() -> None:
    assert parse_editing("a", Timing(steps=3)) == (Stage(3, "a"),)


#: the characters with a meaning, more often than others
PROMPTS = st.text(st.sampled_from("[]():|\\ .0123ab-e\n") | st.characters(), max_size=40)
TIMINGS = st.builds(
    Timing,
    steps=st.integers(1, 30),
    earlier_steps=st.integers(0, 30),
    earlier_shares=st.sampled_from([0.0, 1.0]),
    old=st.booleans(),
)


@given(PROMPTS, TIMINGS)
@example("[a:b:1e999]", Timing(steps=1))
@example("[a|b:-1e999]", Timing(steps=1))
@settings(max_examples=400, deadline=None)
def test_any_prompt_has_stages_to_the_end_of_the_pass(prompt: str, timing: Timing) -> None:
    stages = parse_editing(prompt, timing)
    ends = [stage.end for stage in stages]
    assert ends == sorted(set(ends))
    assert ends[-1] == timing.steps
    assert ends[0] >= 1


@given(st.text(st.characters(exclude_characters="[]()|\\"), max_size=60), TIMINGS)
@settings(deadline=None)
def test_text_without_brackets_is_kept(prompt: str, timing: Timing) -> None:
    assert parse_editing(prompt, timing) == (Stage(timing.steps, prompt),)


@given(PROMPTS.filter(lambda text: not re.search(r"[:|]", text)), TIMINGS)
@settings(deadline=None)
def test_without_separators_every_prompt_is_kept(prompt: str, timing: Timing) -> None:
    assert parse_editing(prompt, timing) == (Stage(timing.steps, prompt),)


WORDS = st.text(st.sampled_from("abc ,"), max_size=4)


def forms(
    inner: st.SearchStrategy[Callable[[int], str]],
) -> st.SearchStrategy[Callable[[int], str]]:
    """Forms whose written text is asked for with step 0, and their meaning with a step."""

    def joined(parts: list[Callable[[int], str]]) -> Callable[[int], str]:
        return lambda step: "".join(part(step) for part in parts)

    def switch(
        before: Callable[[int], str], after: Callable[[int], str], when: int
    ) -> Callable[[int], str]:
        def say(step: int) -> str:
            if not step:
                return f"[{before(0)}:{after(0)}:{when}]"
            return before(step) if step <= when else after(step)

        return say

    def turns(choices: list[Callable[[int], str]]) -> Callable[[int], str]:
        def say(step: int) -> str:
            if not step:
                return "[" + "|".join(choice(0) for choice in choices) + "]"
            return choices[(step - 1) % len(choices)](step)

        return say

    return (
        st.lists(inner, max_size=3).map(joined)
        | st.builds(switch, inner, inner, st.integers(0, 12))
        | st.lists(inner, min_size=2, max_size=3).map(turns)
        | inner.map(lambda say: lambda step: f"({say(step)}:1.2)")
        | inner.map(lambda say: lambda step: f"({say(step)})")
        | inner.map(lambda say: lambda step: f"[{say(step)}]")
    )


@given(st.recursive(WORDS.map(lambda word: lambda step: word), forms, max_leaves=8))
@settings(max_examples=200, deadline=None)
def test_nested_forms_mean_what_they_are_built_of(say: Callable[[int], str]) -> None:
    stages = parse_editing(say(0), Timing(steps=10))
    for step in range(1, 11):
        text = next(stage.text for stage in stages if step <= stage.end)
        assert text == say(step)


HOSTILE: dict[str, Callable[[int], str]] = {
    "opened": lambda n: "[" * n,
    "opened round": lambda n: "(a" * n,
    "closed": lambda n: "]" * n,
    "nested": lambda n: "(" * n + ")" * n,
    "nested square": lambda n: "[" * n + "]" * n,
    "nested switches": lambda n: "[a:" * n + "b:3]" * n,
    "nested in the first": lambda n: "[" * n + "a" + ":b:3]" * n,
    "nested alternations": lambda n: "[a|" * n + "b]" * n,
    "in a row": lambda n: "[a:b:3]" * n,
    "alternations in a row": lambda n: "[a|b]" * n,
    "many choices": lambda n: "[" + "a|" * n + "]",
    "colons": lambda n: "[" + ":" * n + "]",
    "invalid nested": lambda n: "[a:b:" * n + "c]" * n,
    "crossed": lambda n: "([" * n + ")]" * n,
    "broken often": lambda n: "[(a:b]" * n,
    "backslashes": lambda n: "\\" * (2 * n + 1),
    "strokes": lambda n: "|" * n,
    "digits": lambda n: "[a:" + "9" * min(n, 300) + " " * n + "]",
    "spaces": lambda n: "[a:" + " " * n + "x]",
    "plain": lambda n: "a " * n,
}


@pytest.mark.parametrize("shape", HOSTILE)
def test_hostile_prompts_take_linear_time(shape: str) -> None:
    timing = Timing(steps=8)
    seconds = []
    for length in (5_000, 50_000):
        prompt = HOSTILE[shape](length)
        began = time.thread_time()
        stages = parse_editing(prompt, timing)
        seconds.append(time.thread_time() - began)
        assert stages[-1].end == 8
    # ten times the length; quadratic time would take a hundred times as long, and minutes
    assert seconds[1] < 40 * seconds[0] + 1
    assert seconds[1] < 10
