"""The always-on script "soft inpainting": its arguments, and what infotexts say of them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic_core import PydanticCustomError

from pipelines.pictures.soft import SoftInpainting

from .errors import ApiError
from .schemas.lax import to_bool, to_float
from .schemas.limits import Span

_TITLE = "soft inpainting"
#: field of `SoftInpainting`, in the order of the arguments -> its infotext name and its limits
_NUMBERS: Mapping[str, tuple[str, Span]] = MappingProxyType(
    {
        "schedule_bias": ("schedule bias", Span(0, 32)),
        "preservation_strength": ("preservation strength", Span(0, 100)),
        "contrast_boost": ("transition contrast boost", Span(0.01, 100)),
        "mask_influence": ("mask influence", Span(0, 1)),
        "difference_threshold": ("difference threshold", Span(0, 1000)),
        "difference_contrast": ("difference contrast", Span(0, 100)),
    }
)


def soft_inpainting(scripts: Mapping[str, Any], extra: dict[str, object]) -> SoftInpainting | None:
    """What `alwayson_scripts` ask of soft inpainting (None: it is off); told in `extra`.

    Its arguments are `enabled` and the fields of `SoftInpainting`; those left out have the wire's
    defaults. Numbers are told as they were sent.

    Raises `ApiError` for an argument of the wrong type or outside its limits.
    """
    enabled, *numbers = _arguments(scripts) or [False]
    if not _enabled(enabled):
        return None
    chosen: dict[str, float] = {}
    extra["Soft inpainting enabled"] = True
    for place, (field, (label, span)) in enumerate(_NUMBERS.items()):
        sent = numbers[place] if place < len(numbers) else getattr(SoftInpainting(), field)
        chosen[field] = _number(label, sent, span)
        told = sent if isinstance(sent, int | float) else chosen[field]
        extra[f"Soft inpainting {label}"] = told
    return SoftInpainting(**chosen)


def _arguments(scripts: Mapping[str, Any]) -> list[Any]:
    """The arguments sent; anything that is no list of them counts as none, as in the reference."""
    entry = next((scripts[title] for title in scripts if title.casefold() == _TITLE), None)
    arguments = entry.get("args") if isinstance(entry, dict) else None
    return arguments if isinstance(arguments, list) else []


def _enabled(value: object) -> bool:
    try:
        return to_bool(value)
    except PydanticCustomError as error:
        raise ApiError(422, f"{_TITLE}: enabled {value!r:.80}: {error.message()}") from None


def _number(label: str, value: object, span: Span) -> float:
    try:
        number = to_float(value)
    except PydanticCustomError as error:
        raise ApiError(422, f"{_TITLE}: {label} {value!r:.80}: {error.message()}") from None
    if not span.low <= number <= span.high:
        raise ApiError(422, f"{_TITLE}: {label} {value}: allowed are {span.low} to {span.high}")
    return number
