"""The coercions of the wire, each beside what it refuses."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic_core import PydanticCustomError

from server.schemas import lax


@pytest.mark.parametrize(
    ("convert", "given", "expected"),
    [
        (lax.to_int, "12", 12),
        (lax.to_int, " 12 ", 12),
        (lax.to_int, 7.9, 7),
        (lax.to_int, -7.9, -7),
        (lax.to_int, True, 1),
        (lax.to_float, "1.5", 1.5),
        (lax.to_float, 7, 7.0),
        (lax.to_float, False, 0.0),
        (lax.to_str, 5, "5"),
        (lax.to_str, 5.0, "5.0"),
        (lax.to_str, True, "True"),
        (lax.to_str, "\0 \u202e 🎉", "\0 \u202e 🎉"),
        (lax.to_bool, "Yes", True),
        (lax.to_bool, "on", True),
        (lax.to_bool, 1, True),
        (lax.to_bool, 1.0, True),
        (lax.to_bool, "FALSE", False),
        (lax.to_bool, "off", False),
        (lax.to_bool, 0, False),
        (lax.to_list, [1, [None, "a"]], [1, [None, "a"]]),
        (lax.to_dict, {"a": {"b": 1e300}}, {"a": {"b": 1e300}}),
        (lax.to_dict, [], {}),
    ],
)
def test_coerces(convert: Callable[[object], Any], given: object, expected: object) -> None:
    result = convert(given)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("convert", "given", "kind"),
    [
        (lax.to_int, "20.0", "type_error.integer"),
        (lax.to_int, "", "type_error.integer"),
        (lax.to_int, [1], "type_error.integer"),
        (lax.to_int, float("nan"), "type_error.integer"),
        (lax.to_int, float("inf"), "type_error.integer"),
        (lax.to_int, "9" * 5000, "type_error.integer"),
        (lax.to_float, "high", "type_error.float"),
        (lax.to_float, 10**400, "type_error.float"),
        (lax.to_float, "nan", "value_error.number.not_finite_number"),
        (lax.to_float, float("-inf"), "value_error.number.not_finite_number"),
        (lax.to_str, ["a"], "type_error.str"),
        (lax.to_str, "\ud800", "value_error.unicode"),
        (lax.to_bool, "maybe", "type_error.bool"),
        (lax.to_bool, 2, "type_error.bool"),
        (lax.to_bool, [], "type_error.bool"),
        (lax.to_list, "ab", "type_error.list"),
        (lax.to_list, [[float("nan")]], "value_error.number.not_finite_number"),
        (lax.to_dict, [1], "type_error.dict"),
        (lax.to_dict, "", "type_error.dict"),
        (lax.to_dict, {"\udfff": 1}, "value_error.unicode"),
        (lax.to_dict, {"a": {"b": "\udfff"}}, "value_error.unicode"),
        (lax.to_str, None, "type_error.none.not_allowed"),
    ],
)
def test_refuses(convert: Callable[[object], Any], given: object, kind: str) -> None:
    with pytest.raises(PydanticCustomError) as refusal:
        convert(given)
    assert refusal.value.type == kind


def nested(levels: int) -> list[Any]:
    tree: list[Any] = []
    for _ in range(levels - 1):
        tree = [tree]
    return tree


def test_depth_is_bounded() -> None:
    assert lax.to_list(nested(lax.MAX_DEPTH)) == nested(lax.MAX_DEPTH)
    with pytest.raises(PydanticCustomError, match="at most 64 levels"):
        lax.to_list(nested(lax.MAX_DEPTH + 1))
