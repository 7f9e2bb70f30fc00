"""What saved pictures are called: the patterns of the settings, and names that any disk can hold.

A pattern is text with `[word]`s and `[word<argument><argument>]`s. Pure; knows no files.
"""

import hashlib
import re
import string
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import partial
from types import MappingProxyType

from PIL import Image

LONGEST_NAME = 200
"""Bytes of one file's or folder's name; disks hold 255, and a number and a suffix come on top."""

_LONGEST_PART = 128
_DEEPEST = 8
_LONGEST_PATTERN = 1000
_ARGUMENTS = 20
_HASH = 8
_FORBIDDEN = frozenset('#<>:"/\\|?*')
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_TOKEN = re.compile(r"\[([^\[\]]+)\]")
_WORD = re.compile(r"([^<>]*)((?:<[^<>]*>)*)")
_ARGUMENT = re.compile(r"<([^<>]*)>")
_BETWEEN_WORDS = re.compile(rf"[\s{re.escape(string.punctuation)}]+")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Facts:
    """What names can tell of a picture. `position` counts the job's pictures from 0.

    `raw_prompt` is the prompt before styles; `denoising` is None where nothing was denoised in
    part; `saved` is the time of writing.
    """

    image: Image.Image
    seed: int
    seeds: Sequence[int]
    prompt: str
    negative_prompt: str
    raw_prompt: str
    styles: Sequence[str]
    steps: int
    cfg: float
    sampler: str
    schedule: str
    model_name: str
    model_hash: str | None
    vae_name: str | None
    clip_skip: int
    denoising: float | None
    position: int
    batch_size: int
    batch_count: int
    job_timestamp: str
    prompt_words: int
    saved: datetime


def name(pattern: str, facts: Facts) -> str:
    """A file's name by its pattern, without number and ending; may be empty."""
    return _clean(_applied(pattern, facts).replace("/", "_").replace("\\", "_"))


def folders(pattern: str, facts: Facts) -> tuple[str, ...]:
    """The folders, each in the one before, that a pattern leads to; none is `..` or empty."""
    parts = (_clean(part) for part in re.split(r"[/\\]", _applied(pattern, facts)))
    return tuple(part for part in parts if part)[:_DEEPEST]


def _applied(pattern: str, facts: Facts) -> str:
    """The pattern with its words replaced; one that we do not know stays as it stands."""
    made, end = "", 0
    pattern = pattern[:_LONGEST_PATTERN]
    for token in _TOKEN.finditer(pattern):
        before = pattern[end : token.start()]
        end = token.end()
        word = _WORD.fullmatch(token[1])
        replacement = _REPLACEMENTS.get(word[1].lower()) if word else None
        if word is None or replacement is None:
            made += before + token[0]
            continue
        text = replacement(facts, _ARGUMENT.findall(word[2])[:_ARGUMENTS])
        if text is not None:
            made += before + text
    return made + pattern[end:]


def _clean(text: str) -> str:
    """A name that any file system takes, or nothing."""
    text = "".join(_letter(letter) for letter in text).strip().rstrip(". ")
    text = text.encode()[:LONGEST_NAME].decode(errors="ignore").rstrip(". ")
    return f"_{text}" if _DEVICE.fullmatch(text) else text


def _letter(letter: str) -> str:
    return letter if letter.isprintable() and letter not in _FORBIDDEN else "_"


def _part(text: str, *, spaces: bool = True) -> str:
    """Text of a client's as a part of a name; without `spaces` they become underscores."""
    if not spaces:
        text = text.replace(" ", "_")
    text = "".join(_letter(letter) for letter in text)
    return text.lstrip(" ")[:_LONGEST_PART].rstrip(" .")


def _digest(data: bytes, arguments: Sequence[str]) -> str:
    return hashlib.sha256(data).hexdigest()[: _number(arguments)]


def _number(arguments: Sequence[str]) -> int:
    text = arguments[0] if arguments else ""
    return min(int(text), 64) if text.isascii() and text.isdigit() and len(text) < 5 else _HASH


def _text_digest(text: str, arguments: Sequence[str]) -> str:
    return _digest(text.encode(errors="replace"), arguments)


def _datetime(facts: Facts, arguments: Sequence[str]) -> str:
    """`<format><time zone>`: by default all digits, in local time."""
    form = arguments[0] if arguments and arguments[0] else "%Y%m%d%H%M%S"
    zone = _zone(arguments[1]) if len(arguments) > 1 else None
    try:
        text = facts.saved.astimezone(zone).strftime(form.encode(errors="replace").decode())
    except ValueError:
        text = facts.saved.astimezone(zone).strftime("%Y%m%d%H%M%S")
    return _part(text)


def _zone(name_of_zone: str) -> tzinfo | None:
    """A time zone by its name; local time where there is none of it."""
    if name_of_zone.upper() == "UTC":
        return UTC
    try:
        return zoneinfo.ZoneInfo(name_of_zone)
    except (ValueError, OSError, LookupError):
        return None


def _found_words(facts: Facts, arguments: Sequence[str]) -> str:
    """`<word|otherwise>...`: of each word itself where the prompt has it, else the other."""
    prompt, made = facts.prompt.lower(), ""
    for argument in arguments:
        word, _, otherwise = argument.partition("|")
        if word:
            made += word.lower() if word.lower() in prompt else otherwise
    return _part(made)


def _words(facts: Facts, _: Sequence[str]) -> str:
    words = [word for word in _BETWEEN_WORDS.split(facts.prompt) if word]
    return _part(" ".join(words[: max(facts.prompt_words, 0)] if words else ["empty"]))


def _vae(facts: Facts, _: Sequence[str]) -> str:
    """The VAE's file name up to its first dot; a dot it begins with does not count."""
    if facts.vae_name is None:
        return "NoneType"
    return _part(facts.vae_name.removeprefix(".").partition(".")[0])


def _scheduled(facts: Facts, _: Sequence[str]) -> str:
    return _part(f"{facts.sampler} {facts.schedule.capitalize()}")


def _in_batch(facts: Facts, _: Sequence[str]) -> str | None:
    return str(facts.position % facts.batch_size + 1) if facts.batch_size > 1 else None


def _in_job(facts: Facts, _: Sequence[str]) -> str | None:
    several = facts.batch_size > 1 or facts.batch_count > 1
    return str(facts.position + 1) if several else None


def _fact(tell: Callable[[Facts], object], facts: Facts, _: Sequence[str]) -> str | None:
    told = tell(facts)
    return None if told is None else _part(str(told))


def _hash(tell: Callable[[Facts], str], facts: Facts, arguments: Sequence[str]) -> str:
    return _text_digest(tell(facts), arguments)


Replacement = Callable[[Facts, Sequence[str]], str | None]

_REPLACEMENTS: Mapping[str, Replacement] = MappingProxyType(
    {
        "basename": partial(_fact, lambda facts: "img"),
        "seed": partial(_fact, lambda facts: facts.seed),
        "seed_first": partial(_fact, lambda facts: facts.seeds[0]),
        "seed_last": partial(_fact, lambda facts: facts.seeds[-1]),
        "steps": partial(_fact, lambda facts: facts.steps),
        "cfg": partial(_fact, lambda facts: facts.cfg),
        "width": partial(_fact, lambda facts: facts.image.width),
        "height": partial(_fact, lambda facts: facts.image.height),
        "styles": partial(
            _fact, lambda facts: ", ".join(s for s in facts.styles if s != "None") or "None"
        ),
        "sampler": partial(_fact, lambda facts: facts.sampler),
        "sampler_scheduler": _scheduled,
        "scheduler": partial(_fact, lambda facts: facts.schedule.capitalize()),
        "model_hash": partial(_fact, lambda facts: facts.model_hash or ""),
        "model_name": partial(_fact, lambda facts: facts.model_name),
        "date": partial(_fact, lambda facts: facts.saved.astimezone().strftime("%Y-%m-%d")),
        "datetime": _datetime,
        "job_timestamp": partial(_fact, lambda facts: facts.job_timestamp),
        "prompt_hash": partial(_hash, lambda facts: facts.prompt),
        "negative_prompt_hash": partial(_hash, lambda facts: facts.negative_prompt),
        "full_prompt_hash": partial(_hash, lambda facts: f"{facts.prompt} {facts.negative_prompt}"),
        "prompt": lambda facts, _: _part(facts.prompt, spaces=False),
        "prompt_no_styles": partial(_fact, lambda facts: facts.raw_prompt),
        "prompt_spaces": partial(_fact, lambda facts: facts.prompt),
        "prompt_words": _words,
        "batch_number": _in_batch,
        "batch_size": partial(_fact, lambda facts: facts.batch_size),
        "generation_number": _in_job,
        "hasprompt": _found_words,
        "clip_skip": partial(_fact, lambda facts: facts.clip_skip),
        "denoising": partial(_fact, lambda facts: facts.denoising),
        "user": partial(_fact, lambda facts: ""),
        "vae_filename": _vae,
        "none": partial(_fact, lambda facts: ""),
        "image_hash": lambda facts, arguments: _digest(facts.image.tobytes(), arguments),
    }
)
"""The words of patterns. One that gives None takes the text before it along."""
