"""The wire's lax types: pydantic 1's coercions, which clients depend on, as pydantic 2 annotations.

Numbers may come as strings, integers as floats (truncated), booleans as `"yes"` or 0/1, text as
numbers, an empty list as an empty object. What the wire cannot carry back (NaN, lone surrogates,
absurd nesting) is refused here. Error types and wording are pydantic 1's.
"""

import math
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

MAX_DEPTH = 64
"""Levels of nesting a free-form value (`script_args`, `alwayson_scripts`, ...) may have."""

_TRUE = frozenset({1, "1", "on", "t", "true", "y", "yes"})
_FALSE = frozenset({0, "0", "off", "f", "false", "n", "no"})

_NONE = ("type_error.none.not_allowed", "none is not an allowed value")
_INTEGER = ("type_error.integer", "value is not a valid integer")
_FLOAT = ("type_error.float", "value is not a valid float")
_STR = ("type_error.str", "str type expected")
_BOOL = ("type_error.bool", "value could not be parsed to a boolean")
_LIST = ("type_error.list", "value is not a valid list")
_DICT = ("type_error.dict", "value is not a valid dict")
_UNICODE = ("value_error.unicode", "text with a lone surrogate is not valid Unicode")
_FINITE = ("value_error.number.not_finite_number", "ensure this value is a finite number")
_DEPTH = ("value_error.depth", f"ensure this value has at most {MAX_DEPTH} levels of nesting")


def _refusal(error: tuple[str, str]) -> PydanticCustomError:
    return PydanticCustomError(*error)


def _present(value: object) -> object:
    if value is None:
        raise _refusal(_NONE)
    return value


def _well_formed(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _refusal(_UNICODE) from None
    return text


def to_int(value: object) -> int:
    """An integer as pydantic 1 reads it: `"12"` and 7.9 (-> 7) pass, `"20.0"` does not."""
    _present(value)
    if isinstance(value, int | float | str):
        try:
            return int(value)
        except (ValueError, OverflowError):
            pass
    raise _refusal(_INTEGER)


def to_seed(value: object) -> int:
    """An integer; no text is none chosen, as null is."""
    return -1 if value == "" else to_int(value)


def to_float(value: object) -> float:
    """A finite float as pydantic 1 reads it; booleans count as 0 and 1."""
    _present(value)
    if not isinstance(value, int | float | str):
        raise _refusal(_FLOAT)
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise _refusal(_FLOAT) from None
    if not math.isfinite(number):
        raise _refusal(_FINITE)
    return number


def to_str(value: object) -> str:
    """Text; numbers are spelt as Python spells them."""
    _present(value)
    if isinstance(value, str):
        return _well_formed(value)
    if isinstance(value, int | float):
        return str(value)
    raise _refusal(_STR)


def to_bool(value: object) -> bool:
    """A boolean from true/false, 0/1 and the words yes/no, on/off, y/n, t/f in any case."""
    _present(value)
    word = value.lower() if isinstance(value, str) else value
    if isinstance(word, str | int | float):
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
    raise _refusal(_BOOL)


def to_list(value: object) -> list[Any]:
    """A list of anything that can be sent back."""
    _present(value)
    if not isinstance(value, list):
        raise _refusal(_LIST)
    check_tree(value)
    return value


def to_dict(value: object) -> dict[str, Any]:
    """An object of anything that can be sent back; `[]` (PHP's empty object) is an empty one."""
    _present(value)
    if value == []:
        return {}
    if not isinstance(value, dict):
        raise _refusal(_DICT)
    check_tree(value)
    return value


def check_tree(tree: object) -> None:
    """Refuse a JSON value nested too deeply, or holding NaN, infinity or a lone surrogate.

    Raises:
        PydanticCustomError: naming the first thing refused.
    """
    level: list[object] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    raise _refusal(_DEPTH)


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        _well_formed(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise _refusal(_FINITE)
    return []


def at_most(characters: int) -> Callable[[str], str]:
    """A check for text that longer than `characters` is refused, in pydantic 1's words."""

    def check(text: str) -> str:
        if len(text) > characters:
            raise PydanticCustomError(
                "value_error.any_str.max_length",
                "ensure this value has at most {limit_value} characters",
                {"limit_value": characters},
            )
        return text

    return check


LaxInt = Annotated[int, BeforeValidator(to_int)]
LaxSeed = Annotated[int, BeforeValidator(to_seed)]
LaxFloat = Annotated[float, BeforeValidator(to_float)]
LaxStr = Annotated[str, BeforeValidator(to_str)]
LaxBool = Annotated[bool, BeforeValidator(to_bool)]
LaxList = Annotated[list[Any], BeforeValidator(to_list)]
LaxStrList = Annotated[list[LaxStr], BeforeValidator(to_list)]
LaxDict = Annotated[dict[str, Any], BeforeValidator(to_dict)]
