"""Which scripts a request names, and with what arguments: every mistake in that is found here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from extensions.binding import bind
from extensions.protocol import Extension
from extensions.registry import EXTENSIONS, Named, always_on, find, scripts
from extensions.wanted import Mode

from .choosing import UNSET
from .errors import ApiError
from .schemas.generation import GenerationRequest
from .stock_scripts import STOCK_SCRIPTS


@dataclass(frozen=True, slots=True)
class Selected:
    """The script that draws in place of the plain generation."""

    script: Extension
    args: Any


def selected(
    mode: Mode, request: GenerationRequest, among: Sequence[Extension] = EXTENSIONS
) -> Selected | None:
    """The script of `script_name`, if any.

    Raises `ApiError` for an unknown title, and what `bind` raises for its arguments.
    """
    title = request.script_name or ""
    if title in UNSET:
        return None
    script = find(title, scripts(mode, among))
    if script is None:
        raise _unknown(title, scripts(mode, among))
    return Selected(script, bind(script, request.script_args))


def hooks(
    mode: Mode, sent: Mapping[str, Any], among: Sequence[Extension] = EXTENSIONS
) -> tuple[Named, ...]:
    """The extensions of `alwayson_scripts`, in the order of the registry.

    Raises `ApiError` for an unknown title and for a script that is to be selected, and what `bind`
    raises for arguments.
    """
    asked = dict(_asked(mode, sent, among))
    return tuple(
        Named.of(each, asked[each.title]) for each in always_on(mode, among) if each.title in asked
    )


def _asked(
    mode: Mode, sent: Mapping[str, Any], among: Sequence[Extension]
) -> Iterator[tuple[str, Any]]:
    """The titles that are extensions of ours, and their arguments."""
    stock = {each.title.casefold() for each in STOCK_SCRIPTS}
    for title, entry in sent.items():
        extension = find(title, always_on(mode, among))
        if extension is not None:
            args = entry.get("args") if isinstance(entry, dict) else None
            yield extension.title, args if isinstance(args, list | dict) else ()
        elif find(title, scripts(mode, among)) is not None:
            raise ApiError(422, "Cannot have a selectable script in the always on scripts params")
        elif title.casefold() not in stock:
            raise _unknown(title, always_on(mode, among))


def _unknown(title: str, there: Sequence[Extension]) -> ApiError:
    """The reference's own words, and beside them what may be named."""
    titles = ", ".join(each.title for each in there)
    return ApiError(422, f"Script '{title}' not found", errors=f"there are: {titles}")
