"""Prompt styles: named texts of a csv file that a request adds to its prompts."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

_PLACE = "{prompt}"


_DIVIDER_WIDTH = 40


@dataclass(frozen=True, slots=True)
class Style:
    """A style: what it adds to the prompt and to the negative prompt."""

    name: str
    prompt: str
    negative_prompt: str


def read_styles(files: Sequence[Path]) -> dict[str, Style]:
    """The styles of some csv files by name; `*` and `?` in a file's name match.

    Columns are name, prompt (in old files: text) and negative_prompt. Rows whose name begins with
    `#` are comments. Of two styles of a name the later has the earlier's place. A file that cannot
    be read costs a warning.
    """
    return {name: style for name, style in list_styles(files).items() if style is not None}


def list_styles(files: Sequence[Path]) -> dict[str, Style | None]:
    """The styles as `read_styles`; where there are several files, each after a divider (None)."""
    found = _found(files)
    listed: dict[str, Style | None] = {}
    for path in found:
        if len(found) > 1:
            listed[f" {path.stem.upper()} ".center(_DIVIDER_WIDTH, "-")] = None
        listed.update((style.name, style) for style in _rows(path))
    return listed


def _found(files: Sequence[Path]) -> list[Path]:
    """The files there are, each once."""
    found: dict[Path, None] = {}
    for file in files:
        pattern = "*" in file.name or "?" in file.name
        matches = sorted(file.parent.glob(file.name)) if pattern else [file]
        found.update((path, None) for path in matches if path.is_file())
    return list(found)


def _rows(path: Path) -> Iterator[Style]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
    except (OSError, ValueError, csv.Error) as error:
        log.warning("styles not read", path=str(path), reason=str(error))
        return
    for row in rows:
        name = row.get("name") or ""
        if name and not name.startswith("#"):
            text = row.get("prompt") or row.get("text") or ""
            yield Style(name, text, row.get("negative_prompt") or "")


def apply(texts: Sequence[str], prompt: str) -> str:
    """`prompt` with the texts of styles added in order, around it or after a comma."""
    for text in texts:
        if _PLACE in text:
            prompt = text.replace(_PLACE, prompt)
        else:
            prompt = ", ".join(part for part in (prompt.strip(), text.strip()) if part)
    return prompt


def chosen(names: Sequence[str], styles: Mapping[str, Style]) -> list[Style]:
    """The styles of these names, in their order; unknown names are left out."""
    return [styles[name] for name in names if name in styles]
