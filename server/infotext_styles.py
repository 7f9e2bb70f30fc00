"""Prompt styles recognised in the prompts of an infotext, and taken out of them again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .styles import Style

STYLES = "Styles array"
_PLACE = "{prompt}"
_PROMPT, _NEGATIVE = "Prompt", "Negative prompt"
_HIRES_PROMPT, _HIRES_NEGATIVE = "Hires prompt", "Hires negative prompt"


@dataclass(frozen=True, slots=True)
class _Plain:
    """Prompts without styles, and the names of those that were in them, in order."""

    names: tuple[str, ...]
    prompt: str
    negative_prompt: str


def without_styles(
    fields: Mapping[str, object], styles: Mapping[str, Style], setting: str
) -> dict[str, object]:
    """The fields of an infotext with its styles named under `Styles array`, not spelt out.

    `setting` is the option `infotext_styles`. Nothing changes where the hires prompts were made
    with other styles.
    """
    told = dict(fields)
    if setting == "Ignore":
        return told
    prompt, negative = str(told.get(_PROMPT, "")), str(told.get(_NEGATIVE, ""))
    plain = _plain(prompt, negative, styles)
    if told.get(_HIRES_PROMPT) or told.get(_HIRES_NEGATIVE):
        hires = _plain(
            str(told.get(_HIRES_PROMPT) or prompt),
            str(told.get(_HIRES_NEGATIVE) or negative),
            styles,
        )
        if hires.names != plain.names:
            return told
        told[_HIRES_PROMPT] = "" if hires.prompt == plain.prompt else hires.prompt
        same = hires.negative_prompt == plain.negative_prompt
        told[_HIRES_NEGATIVE] = "" if same else hires.negative_prompt
    told[_PROMPT], told[_NEGATIVE] = plain.prompt, plain.negative_prompt
    if setting == "Apply" or (setting == "Apply if any" and plain.names):
        told[STYLES] = list(plain.names)
    return told


def _plain(prompt: str, negative: str, styles: Mapping[str, Style]) -> _Plain:
    """Take styles out, the one applied last first, until no other fits."""
    left = list(styles.values())
    names: list[str] = []
    while found := next(_fitting(prompt, negative, left), None):
        style, prompt, negative = found
        left.remove(style)
        names.insert(0, style.name)
    return _Plain(tuple(names), prompt, negative)


def _fitting(prompt: str, negative: str, styles: list[Style]) -> Iterator[tuple[Style, str, str]]:
    for style in styles:
        if style.prompt.strip() or style.negative_prompt.strip():
            inner = _inner(style.prompt, prompt)
            inner_negative = _inner(style.negative_prompt, negative)
            if inner is not None and inner_negative is not None:
                yield style, inner, inner_negative


def _inner(style: str, prompt: str) -> str | None:
    """What of a prompt is not the style's; None where the style is not in it."""
    style, prompt = style.strip(), prompt.strip()
    before, place, after = style.partition(_PLACE)
    if not place:
        before, after = "", style
    if not (prompt.startswith(before) and prompt.endswith(after)):
        return None
    inner = prompt[len(before) : len(prompt) - len(after)]
    return inner if place else inner.removesuffix(", ")
