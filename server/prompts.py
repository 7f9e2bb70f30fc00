"""A request's prompts: with the texts of its styles, without comments."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .options import Options
from .schemas.generation import GenerationRequest
from .styles import Style, apply, chosen

_COMMENT_LINE = re.compile(r"(?:^|\n)#[^\n]*(?:\n|$)")
_COMMENT = re.compile(r"#[^\n]*(?:\n|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """A prompt and a negative prompt, as they are drawn and told."""

    prompt: str
    negative_prompt: str


def prompts(request: GenerationRequest, options: Options, styles: Mapping[str, Style]) -> Prompts:
    """The prompts of a request."""
    return _prompts(request.prompt, request.negative_prompt, request.styles, options, styles)


def hires_prompts(
    prompt: str,
    negative_prompt: str,
    request: GenerationRequest,
    options: Options,
    styles: Mapping[str, Style],
) -> Prompts:
    """The prompts of a hires pass; "" stays "", which means those of the first."""
    made = _prompts(prompt, negative_prompt, request.styles, options, styles)
    return Prompts(
        prompt=prompt and made.prompt, negative_prompt=negative_prompt and made.negative_prompt
    )


def _prompts(
    prompt: str,
    negative_prompt: str,
    names: Sequence[str] | None,
    options: Options,
    styles: Mapping[str, Style],
) -> Prompts:
    added = chosen(names or (), styles)
    return Prompts(
        prompt=_prompt(prompt, [style.prompt for style in added], options),
        negative_prompt=_prompt(
            negative_prompt, [style.negative_prompt for style in added], options
        ),
    )


def _prompt(text: str, styles: Sequence[str], options: Options) -> str:
    text = apply(styles, text)
    if not options.enable_prompt_comments:
        return text
    return _COMMENT.sub("\n", _COMMENT_LINE.sub("\n", text))
