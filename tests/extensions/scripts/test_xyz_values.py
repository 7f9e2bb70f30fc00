"""Values of an axis: lists, ranges, orders, and what is too much."""

import time

import pytest

from extensions.protocol import BadScriptArgs
from extensions.scripts.xyz_values import Kind, joined, split, values


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("1, 2 ,3", ["1", "2", "3"]),
        ('a, "b, c", d', ["a", "b, c", "d"]),
        ('"say ""hi""",x', ['say "hi"', "x"]),
        ("a\nb", ["a", "b"]),
        ("a,,b", ["a", "", "b"]),
        ("", []),
    ],
)
def test_text_is_comma_separated_values(text: str, entries: list[str]) -> None:
    assert split(text) == entries


def test_entries_are_told_as_comma_separated_values() -> None:
    assert joined(["Euler a", "x, y", 'say "hi"']) == 'Euler a,"x, y","say ""hi"""'


@pytest.mark.parametrize(
    ("kind", "entries", "expected"),
    [
        ("whole", ["3", " 5", ""], [3, 5]),
        ("whole", ["1-5"], [1, 2, 3, 4, 5]),
        ("whole", ["1-5(+2)"], [1, 3, 5]),
        ("whole", ["1 - 5 (+2)", "9"], [1, 3, 5, 9]),
        ("whole", ["10-5 (-3)"], [10, 7]),
        ("whole", ["1-10 [5]"], [1, 3, 5, 7, 10]),
        ("whole", ["-3--1"], [-3, -2, -1]),
        ("whole", ["-1"], [-1]),
        ("number", ["2", "7.5"], [2.0, 7.5]),
        ("number", ["1-3"], [1.0, 2.0, 3.0]),
        ("number", ["0-1 (+0.25)"], [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("number", ["0-1 [3]", "4"], [0.0, 0.5, 1.0, 4.0]),
        ("text", ["1-5", ""], ["1-5", ""]),
        ("order", ["a", "b"], [("a", "b"), ("b", "a")]),
    ],
)
def test_entries_become_values(kind: Kind, entries: list[str], expected: list[object]) -> None:
    found = values("Steps", kind, entries)
    assert found == expected
    assert [type(each) for each in found] == [type(each) for each in expected]


@pytest.mark.parametrize(
    ("kind", "entries", "said"),
    [
        ("whole", ["two"], "Steps 'two': allowed are numbers and ranges"),
        ("whole", ["2.5"], "Steps '2.5'"),
        ("whole", ["1-1000000000"], "Steps '1-1000000000'"),
        ("whole", ["1-9(+0)"], r"Steps '1-9\(\+0\)'"),
        ("whole", ["1-9[1000000000]"], "Steps '1-9"),
        ("whole", ["9" * 5000], "Steps '9999"),
        ("whole", ["1-2"] * 600, "Steps: more than 1024 values"),
        ("number", ["nan"], "Steps 'nan'"),
        ("number", ["1e999"], "Steps '1e999'"),
        ("number", ["0-1 (+0.0000001)"], "Steps '0-1"),
        ("number", ["0-1 (+0)"], "Steps '0-1"),
        ("text", ["a"] * 1025, "Steps: more than 1024 values"),
        ("order", list("abcdefg"), "Steps: 7 parts have too many orders"),
        ("order", ["a"] * 10**5, "100000 parts have too many orders"),
    ],
)
def test_what_is_wrong_or_too_much_is_named(kind: Kind, entries: list[str], said: str) -> None:
    begun = time.monotonic()
    with pytest.raises(BadScriptArgs, match=said):
        values("Steps", kind, entries)
    assert time.monotonic() - begun < 1


def test_lists_that_are_none() -> None:
    with pytest.raises(BadScriptArgs, match="no comma-separated list"):
        split('"' + "x" * 200_000)
