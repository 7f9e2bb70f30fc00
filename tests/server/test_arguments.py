"""What is missing is told in Python's words."""

import pytest

from server.arguments import missing


def one(a: int) -> None: ...
def two(a: int, b: int) -> None: ...
def three(a: int, b: int, c: int) -> None: ...


@pytest.mark.parametrize(("function", "required"), [(one, "a"), (two, "ab"), (three, "abc")])
def test_the_words_are_pythons(function: object, required: str) -> None:
    with pytest.raises(TypeError) as raised:
        function()  # type: ignore[operator]
    assert missing(function.__name__, list(required), ()) == str(raised.value)  # type: ignore[attr-defined]


def test_what_is_given_is_not_missing() -> None:
    assert missing("f", ["a", "b", "c"], {"b": None, "x": 1}) == (
        "f() missing 2 required positional arguments: 'a' and 'c'"
    )
    assert missing("f", ["a"], ["a"]) is None
    assert missing("f", [], []) is None
