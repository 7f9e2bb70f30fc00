"""`GET /sdapi/v1/options` and `/cmd-flags` as OpenAPI describes them, from the tables of both."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, create_model

from ..flags import FLAGS, Flag, Kind
from ..option_table import NOTES, defaults
from .base import Reply

_LISTS = (Kind.WORDS, Kind.PATHS)


def _option_type(default: object) -> Any:
    """As the reference tells it: numbers are fractions; of what is false or empty it tells none."""
    match default:
        case bool() if default:
            return bool
        case int() | float() if default:
            return float
        case list() if default:
            return list[Any]
        case str() if default:
            return str
    return Any


_OPTIONS: Mapping[str, Any] = {
    key: (_option_type(default), default) for key, default in {**defaults(), **NOTES}.items()
}


def _flag(flag: Flag) -> Any:
    """As the reference tells it: the type of the default, text where there is none."""
    if flag.kind in _LISTS:
        return list[Any], []
    return (str | None, None) if flag.default is None else (type(flag.default), flag.default)


_FLAGS: Mapping[str, Any] = {flag.dest: _flag(flag) for flag in FLAGS}

OptionsReply: type[BaseModel] = create_model("Options", __base__=Reply, **_OPTIONS)
"""Every setting; all optional, as the reference has them."""

FlagsReply: type[BaseModel] = create_model("Flags", __base__=Reply, **_FLAGS)
"""Every command-line flag by its destination."""


def as_sent(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` as the reference sends them: its typed numbers as fractions (80 as 80.0)."""
    return {
        key: float(value) if _OPTIONS[key][0] is float else value for key, value in settings.items()
    }


def flags_as_sent(flags: Mapping[str, Any]) -> dict[str, Any]:
    """`flags` as the reference sends them: numbers without a default of their own as text."""
    numbers = {flag.dest for flag in FLAGS if flag.kind is Kind.INTEGER and flag.default is None}
    return {
        dest: str(value) if dest in numbers and value is not None else value
        for dest, value in flags.items()
    }
