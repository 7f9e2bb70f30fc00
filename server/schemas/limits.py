"""What a generation may ask for: one table of limits, checked before anything is queued."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

MAX_IMAGES = 1024
"""Pictures one request may ask for, `batch_size * n_iter`."""

MAX_PIXELS = 2**25
"""Pixels of one picture, before and after the hires pass."""

MAX_PROMPT = 100_000
"""Characters of one prompt."""


@dataclass(frozen=True, slots=True)
class Span:
    """The numbers a field may have, both ends included."""

    low: float
    high: float


_SIDE = Span(16, 8192)
_STEPS = Span(1, 1000)
_SEED = Span(-(2**63), 2**64 - 1 - MAX_IMAGES)
_NUMBER = Span(-1000, 1000)
_SIDE_OR_UNSET = Span(0, _SIDE.high)
_BLUR = Span(-(2**31), 1024)

SPANS: Mapping[str, Span] = MappingProxyType(
    {
        "seed": _SEED,
        "subseed": _SEED,
        "subseed_strength": _NUMBER,
        "seed_resize_from_h": Span(-(2**31), _SIDE.high),
        "seed_resize_from_w": Span(-(2**31), _SIDE.high),
        "batch_size": Span(1, MAX_IMAGES),
        "n_iter": Span(1, MAX_IMAGES),
        "steps": _STEPS,
        "cfg_scale": _NUMBER,
        "width": _SIDE,
        "height": _SIDE,
        "denoising_strength": _NUMBER,
        "firstphase_width": _SIDE_OR_UNSET,
        "firstphase_height": _SIDE_OR_UNSET,
        "hr_scale": Span(0, 16),
        "hr_second_pass_steps": Span(0, _STEPS.high),
        "hr_resize_x": _SIDE_OR_UNSET,
        "hr_resize_y": _SIDE_OR_UNSET,
        "mask_blur_x": _BLUR,
        "mask_blur_y": _BLUR,
        "mask_blur": _BLUR,
        "inpaint_full_res_padding": Span(0, _SIDE.high),
        "image_cfg_scale": _NUMBER,
        "initial_noise_multiplier": _NUMBER,
    }
)


_PRODUCTS: Mapping[tuple[str, str], int] = MappingProxyType(
    {("batch_size", "n_iter"): MAX_IMAGES, ("width", "height"): MAX_PIXELS}
)


def check_spans(title: str, values: Mapping[str, object]) -> None:
    """Refuse numbers outside `SPANS`, and more pictures or pixels than one request may ask for.

    What only the hires pass reads (`hr_*`) is not looked at while there is none.

    Raises:
        ValidationError: one error a field, at that field's place, in pydantic 1's words.
    """
    refusals = tuple(_outside(values)) or tuple(_too_much(values))
    errors = [
        InitErrorDetails(type=refusal, loc=(name,), input=values[name])
        for name, refusal in refusals
    ]
    if errors:
        raise ValidationError.from_exception_data(title, errors)


def _outside(values: Mapping[str, object]) -> Iterator[tuple[str, PydanticCustomError]]:
    for name, span in SPANS.items():
        value = values.get(name)
        if not isinstance(value, int | float) or (
            name.startswith("hr_") and not values.get("enable_hr")
        ):
            continue
        if value < span.low:
            yield name, _bound("not_ge", "this value is greater than or equal to", span.low, value)
        elif value > span.high:
            yield name, _bound("not_le", "this value is less than or equal to", span.high, value)


def _too_much(values: Mapping[str, object]) -> Iterator[tuple[str, PydanticCustomError]]:
    for (first, second), limit in _PRODUCTS.items():
        product = _product(values.get(first), values.get(second))
        if product > limit:
            yield second, _bound("not_le", f"{first} times {second} is at most", limit, product)


def _product(first: object, second: object) -> int:
    if isinstance(first, int) and isinstance(second, int) and first > 0:
        return first * second
    return 0


def _bound(kind: str, relation: str, limit: float, value: object) -> PydanticCustomError:
    return PydanticCustomError(
        f"value_error.number.{kind}",
        f"ensure {relation} {{limit_value}} (got {{given}})",
        {"limit_value": limit, "given": value},
    )
