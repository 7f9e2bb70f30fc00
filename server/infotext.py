"""Generation parameters as text: written under a picture, and read back.

`PROMPT`, then a line `Negative prompt: ...` where there is one, then one line `Key: value, ...`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from pipelines.prompt.emphasis import parse_emphasis
from pipelines.samplers import SAMPLERS

from .infotext_styles import without_styles
from .styles import Style

_PROMPTS = ("Prompt", "Negative prompt")
_NEGATIVE = "Negative prompt:"
_FEWEST_FIELDS = 3
"""Fields the last line must have to be the settings line and no part of the prompt."""

FIRST = (
    "Steps",
    "Sampler",
    "Schedule type",
    "CFG scale",
    "Image CFG scale",
    "Seed",
    "Face restoration",
    "Size",
    "Model hash",
    "Model",
    "FP8 weight",
    "Cache FP16 weight for LoRA",
    "VAE hash",
    "VAE",
    "Variation seed",
    "Variation seed strength",
    "Seed resize from",
    "Denoising strength",
    "Conditional mask weight",
    "Clip skip",
    "ENSD",
    "Token merging ratio",
    "Token merging ratio hr",
    "Init image hash",
    "RNG",
    "Tiling",
)
"""Fields that lead the settings line, in this order; others follow in the order given."""

LAST = ("Version", "User")
"""Fields that close the settings line."""

_ABSENT_MEANS: Mapping[str, object] = MappingProxyType(
    {
        "Clip skip": "1",
        "Hires resize-1": 0,
        "Hires resize-2": 0,
        "Hires sampler": "Use same sampler",
        "Hires schedule type": "Use same scheduler",
        "Hires checkpoint": "Use same checkpoint",
        "Hires prompt": "",
        "Hires negative prompt": "",
        "Mask mode": "Inpaint masked",
        "Masked content": "original",
        "Inpaint area": "Whole picture",
        "Masked area padding": 32,
        "RNG": "GPU",
        "Schedule type": "Automatic",
        "Schedule max sigma": 0,
        "Schedule min sigma": 0,
        "Schedule rho": 0,
        "VAE Encoder": "Full",
        "VAE Decoder": "Full",
        "FP8 weight": "Disable",
        "Refiner switch by sampling steps": False,
    }
)
"""What a field left out of an infotext stands for."""

_NO_STYLES: Mapping[str, Style] = MappingProxyType({})
_NEEDS_QUOTES = re.compile(r"[,:\n]")
# Possessive, so that a value of any length costs one pass and no backtracking.
_VALUE = re.compile(r'\s*+(?:("(?:[^"\\]++|\\.)++")(?:,|\Z)|([^,]*+)(?:,|\Z))')
# Without `<`, so that no text is searched twice.
_LORA = re.compile(r"<lora:([^:<]+):")
_SIZE = re.compile(r"([0-9]+)x([0-9]+)")
_VERSION = re.compile(r"v?([0-9]{1,9})\.([0-9]{1,9})(?:\.([0-9]{1,9}))?(?:-([0-9]{1,9}))?")


def write(prompt: str, negative: str, fields: Mapping[str, object]) -> str:
    """The infotext of a picture; fields that are None are left out, the others put in order."""
    order = (
        *(key for key in FIRST if key in fields),
        *(key for key in fields if key not in FIRST and key not in LAST),
        *(key for key in LAST if key in fields),
    )
    settings = ", ".join(_entry(key, fields[key]) for key in order if fields[key] is not None)
    negative_line = f"\n{_NEGATIVE} {negative}" if negative else ""
    return f"{prompt}{negative_line}\n{settings}".strip()


def parse(
    text: str, styles: Mapping[str, Style] = _NO_STYLES, infotext_styles: str = "Ignore"
) -> dict[str, object]:
    """The fields of an infotext, with `Prompt`, `Negative prompt` and what absent fields mean.

    Reads any text, in time linear in its length; values stay strings, and `64x96` under `Size`
    becomes `Size-1` and `Size-2`. Of `styles`, those found in the prompts are named instead, as the
    setting `infotext_styles` says.
    """
    *lines, last = text.strip().split("\n")
    entries = list(_entries(last))
    if len(entries) < _FEWEST_FIELDS:
        lines.append(last)
        entries = []
    fields: dict[str, object] = {}
    for key, value in entries:
        size = _SIZE.fullmatch(value)
        fields |= {f"{key}-1": size[1], f"{key}-2": size[2]} if size else {key: value}
    fields["Prompt"], fields["Negative prompt"] = _prompts(lines)
    fields = without_styles(fields, styles, infotext_styles)
    fields["Prompt"] = f"{fields['Prompt']}{_hypernetwork(fields)}"
    return _with_meanings(fields)


def renamed_networks(
    fields: Mapping[str, object], name_of: Callable[[str], str | None]
) -> dict[str, object]:
    """`fields` with the LoRA tags of the prompt named as they are called here.

    "Lora hashes" tells which file a tag meant; `name_of` gives the name of a file with that hash.
    """
    told = (entry.partition(":") for entry in str(fields.get("Lora hashes", "")).split(","))
    hashes = {name.strip(): code.strip() for name, _, code in told}

    def renamed(tag: re.Match[str]) -> str:
        name = name_of(hashes[tag[1]]) if tag[1] in hashes else None
        return tag[0] if name is None else f"<lora:{name}:"

    return {**fields, "Prompt": _LORA.sub(renamed, str(fields["Prompt"]))}


def from_novelai(prompt: str, settings: Mapping[str, object], size: tuple[int, int]) -> str:
    """The infotext that says the same as a NovelAI picture's description and settings.

    `size` is the picture's, (width, height): not all of its settings tell.
    """
    names = {alias: each.name for each in SAMPLERS for alias in each.aliases}
    fields = {
        "Steps": settings.get("steps"),
        "Sampler": names.get(str(settings.get("sampler")), "Euler a"),
        "CFG scale": settings.get("scale"),
        "Seed": settings.get("seed"),
        "Size": f"{size[0]}x{size[1]}",
        "Clip skip": 2,
        "ENSD": 31337,
    }
    return write(prompt, str(settings.get("uc", "")), fields)


def _entry(key: str, value: object) -> str:
    if key == value:
        return key
    text = str(value)
    quoted = json.dumps(text, ensure_ascii=False) if _NEEDS_QUOTES.search(text) else text
    return f"{key}: {quoted}"


def _entries(line: str) -> Iterator[tuple[str, str]]:
    """Each `key: value` of a settings line; a key has two characters or more, a value one."""
    start = 0
    while (colon := line.find(":", start)) >= 0:
        key = _key_before(line, start, colon)
        if not key:
            start = colon + 1
            continue
        match = _VALUE.match(line, colon + 1)
        assert match is not None, "a value up to the next comma always matches"
        start = match.end()
        value = _unquoted(match[1]) if match[1] else match[2]
        if value:
            yield key, value


def _key_before(line: str, start: int, colon: int) -> str:
    """The longest run of key characters that ends at the colon, from its first word character."""
    begin = colon
    while begin > start and (line[begin - 1].isalnum() or line[begin - 1] in "_ /-"):
        begin -= 1
    key = line[begin:colon].lstrip(" /-")
    return key if len(key) > 1 else ""


def _unquoted(text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    # An escape may spell half of a surrogate pair, which no reply could carry.
    return str(value).encode(errors="replace").decode()


def _prompts(lines: list[str]) -> tuple[str, str]:
    stripped = [line.strip() for line in lines]
    for at, line in enumerate(stripped):
        if line.startswith(_NEGATIVE):
            rest = [line.removeprefix(_NEGATIVE).strip(), *stripped[at + 1 :]]
            rest = [each.removeprefix(_NEGATIVE).strip() for each in rest]
            return _joined(stripped[:at]), _joined(rest)
    return _joined(stripped), ""


def _joined(lines: list[str]) -> str:
    return "\n".join(lines).lstrip("\n")


def _hypernetwork(fields: Mapping[str, object]) -> str:
    """Old infotexts name a hypernetwork in a field; since then it is a tag of the prompt."""
    name = fields.get("Hypernet")
    return f"<hypernet:{name}:{fields.get('Hypernet strength', '1.0')}>" if name else ""


def _with_meanings(fields: dict[str, object]) -> dict[str, object]:
    complete = fields | {key: value for key, value in _ABSENT_MEANS.items() if key not in fields}
    if "Emphasis" not in complete and any(map(_emphasised, (str(fields[k]) for k in _PROMPTS))):
        complete["Emphasis"] = "Original"
    version = _version(str(fields.get("Version", "")))
    if version is None:
        return complete
    if version < (1, 6, 0, 0):
        if "[" in str(fields["Prompt"]):
            complete["Old prompt editing timelines"] = True
        if fields.get("Sampler") in ("DDIM", "PLMS"):
            complete["Pad conds v0"] = True
    if version < (1, 7, 0, 225):
        complete["Downcast alphas_cumprod"] = True
    if version < (1, 8, 0, 0) and "Refiner" in fields:
        complete["Refiner switch by sampling steps"] = True
    return complete


def _emphasised(prompt: str) -> bool:
    if "(" not in prompt and "[" not in prompt:
        return False
    return any(span.weight != 1.0 and not span.breaks for span in parse_emphasis(prompt))


def _version(text: str) -> tuple[int, ...] | None:
    """`v1.7.0-225-gabcdef` as (1, 7, 0, 225)."""
    match = _VERSION.match(text)
    return tuple(int(part or 0) for part in match.groups()) if match else None
