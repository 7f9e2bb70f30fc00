"""`GET /sdapi/v1/options` and `/cmd-flags` as OpenAPI describes them, from the tables of both."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, create_model

from ..flags import FLAGS, Kind
from ..option_table import NOTES, defaults
from .base import Reply

_FLAG_TYPES: Mapping[Kind, Any] = {
    Kind.SWITCH: bool,
    Kind.TEXT: str | None,
    Kind.INTEGER: int | None,
    Kind.PATH: str | None,
    Kind.WORDS: list[Any] | None,
    Kind.PATHS: list[Any] | None,
}


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
_FLAGS: Mapping[str, Any] = {
    flag.dest: (_FLAG_TYPES[flag.kind], False if flag.kind is Kind.SWITCH else None)
    for flag in FLAGS
}

OptionsReply: type[BaseModel] = create_model("Options", __base__=Reply, **_OPTIONS)
"""Every setting; all optional, as the reference has them."""

FlagsReply: type[BaseModel] = create_model("Flags", __base__=Reply, **_FLAGS)
"""Every command-line flag by its destination."""


def as_sent(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` as the reference sends them: its typed numbers as fractions (80 as 80.0)."""
    return {
        key: float(value) if _OPTIONS[key][0] is float else value for key, value in settings.items()
    }
