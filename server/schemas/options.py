"""`GET /sdapi/v1/options` and `/cmd-flags` as OpenAPI describes them, from the tables of both."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, create_model

from ..flags import FLAGS, Kind
from ..options import defaults
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
    match default:
        case bool():
            return bool
        case int() | float():
            return float
        case list():
            return list[Any]
        case None:
            return str | None
    return str


_OPTIONS: Mapping[str, Any] = {
    key: (_option_type(default), default) for key, default in defaults().items()
}
_FLAGS: Mapping[str, Any] = {
    flag.dest: (_FLAG_TYPES[flag.kind], False if flag.kind is Kind.SWITCH else None)
    for flag in FLAGS
}

OptionsReply: type[BaseModel] = create_model("Options", __base__=Reply, **_OPTIONS)
"""Every setting; all optional, as the reference has them."""

FlagsReply: type[BaseModel] = create_model("Flags", __base__=Reply, **_FLAGS)
"""Every command-line flag by its destination."""
