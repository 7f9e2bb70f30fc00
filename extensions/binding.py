"""What a client sends as a script's arguments becomes `Args`, and how clients are told of them."""

import contextlib
import dataclasses
import math
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Union, get_args, get_origin, get_type_hints

from PIL.Image import Image

from .protocol import BadScriptArgs, Extension
from .wanted import Mode, Names

_SHOWN = 80


class MissingScriptArgs(TypeError):
    """A script was given some of its arguments and not all; the text is the reference's."""

    def __init__(self, names: Sequence[str]) -> None:
        quoted = [repr(name) for name in names]
        listed = " and ".join(quoted)
        if len(quoted) > 2:
            listed = f"{', '.join(quoted[:-1])}, and {quoted[-1]}"
        plural = "s" if len(quoted) > 1 else ""
        super().__init__(
            f"Script.run() missing {len(quoted)} required positional argument{plural}: {listed}"
        )


def bind(extension: Extension, sent: Sequence[object] | Mapping[str, object]) -> Any:
    """An extension's `Args` from a list in the order of the wire, or from names.

    Null stands for the default, and so does all that an empty list or a mapping leaves out. What a
    list has too many is ignored. In place of a picture stands what the client sent, until
    `with_pictures`.

    Raises:
        BadScriptArgs: a value of the wrong type, or an unknown name.
        MissingScriptArgs: a list that ends too early, for a script that clients select.
    """
    hints = get_type_hints(extension.args)
    if isinstance(sent, Mapping):
        unknown = [name for name in sent if name not in hints]
        if unknown:
            raise BadScriptArgs(
                f"{extension.title} has no argument {unknown[0]!r:.80}: "
                f"allowed are {', '.join(hints)}"
            )
        given = dict(sent)
    else:
        given = dict(zip(hints, sent, strict=False))
        if extension.run is not None and 0 < len(given) < len(hints):
            raise MissingScriptArgs(list(hints)[len(given) :])
    return extension.args(
        **{
            name: _read(f"{extension.title}: {name}", value, hints[name])
            for name, value in given.items()
            if value is not None and name != "note"
        }
    )


def pictures_sent(args: Any) -> Mapping[str, str]:
    """What the client sent as pictures, in base64 or by address, by the names of the arguments."""
    hints = get_type_hints(type(args))
    sent = {name: getattr(args, name) for name in hints if kinds(hints[name]) == [Image]}
    return {name: text for name, text in sent.items() if isinstance(text, str)}


def with_pictures(args: Any, pictures: Mapping[str, Image]) -> Any:
    """The arguments with the pictures themselves."""
    return dataclasses.replace(args, **pictures)


def describe(extension: Extension, mode: Mode, names: Names) -> Iterator[dict[str, object]]:
    """The arguments as `/sdapi/v1/script-info` tells of them."""
    for field in dataclasses.fields(extension.args):
        told = field.metadata
        choices = told["choices"]
        default = field.default
        yield {
            "label": told["label"],
            "value": list(default) if isinstance(default, tuple) else default,
            "minimum": told.get("minimum"),
            "maximum": told.get("maximum"),
            "step": told.get("step"),
            "choices": None if choices is None else list(choices(mode, names)),
        }


def _read(what: str, value: object, hint: Any) -> Any:
    """A value as a type of `Args`; of several types the value's own, else the first that fits."""
    fitting = sorted(kinds(hint), key=lambda kind: kind is not type(value))
    readers = [_READERS[get_origin(kind) or kind] for kind in fitting]
    for reader in readers:
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            return reader(value)
    shown = repr(value)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
    allowed = " or ".join(_ALLOWED[reader] for reader in readers)
    raise BadScriptArgs(f"{what} {shown}: allowed is {allowed}")


def kinds(hint: Any) -> list[Any]:
    """The types that the hint of an argument allows beside None."""
    if get_origin(hint) in (Union, types.UnionType):
        return [kind for kind in get_args(hint) if kind is not type(None)]
    return [hint]


def _switch(value: object) -> bool:
    word = value.lower() if isinstance(value, str) else value
    if word in (True, 1, "true", "1", "yes", "on"):
        return True
    if word in (False, 0, "false", "0", "no", "off", ""):
        return False
    raise ValueError(value)


def _whole(value: object) -> int:
    number = _number(value)
    if number != int(number):
        raise ValueError(value)
    return int(number)


def _number(value: object) -> int | float:
    """A finite number; a whole one stays whole, for infotexts tell it as it was sent."""
    if isinstance(value, str):
        text = value.strip()
        return _number(int(text) if text.lstrip("+-").isdecimal() else float(text))
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(value)
    return value


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError(value)
    return str(value)


def _texts(value: object) -> tuple[str, ...]:
    """A list of texts; a text alone is split at its commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if not isinstance(value, Sequence):
        raise TypeError(value)
    return tuple(_text(each) for each in value)


def _picture(value: object) -> str | None:
    """What is sent as a picture; an empty text is none.

    What is no text at all is handed on as one: like a broken text it is no picture, which costs
    the extension and no generation.
    """
    return (value if isinstance(value, str) else f"{value!r:.80}") or None


_READERS: Mapping[Any, Any] = types.MappingProxyType(
    {bool: _switch, int: _whole, float: _number, str: _text, tuple: _texts, Image: _picture}
)
_ALLOWED: Mapping[Any, str] = types.MappingProxyType(
    {
        _switch: "true or false",
        _whole: "a whole number",
        _number: "a number",
        _text: "text",
        _texts: "a list of texts",
        _picture: "a picture in base64, or its address",
    }
)
