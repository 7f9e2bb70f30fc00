"""Extra networks: `<lora:name:0.8>` tags, which belong to the prompt's text but are not drawn."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from models.networks.files import NetworkInfo, NetworkUse

#: the kinds that are looked up among the network files; others leave the text and do nothing
KINDS = ("lora", "lyco")
#: more than these are no prompt but an attack: each one changes every weight of the model
MOST_NETWORKS = 256
_TAG = re.compile(r"<(\w+):([^>]+)>")
_NAMED = ("te", "unet", "dyn")
_LARGEST_DIM = 1 << 31
_HASHES_SEPARATORS = str.maketrans("", "", ":,")


@dataclass(frozen=True, slots=True)
class NetworkTag:
    """One tag: its kind (`lora`, ...) and what stood between its colons."""

    kind: str
    arguments: tuple[str, ...]

    @property
    def name(self) -> str:
        """The network's name, the first argument."""
        return self.arguments[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundNetworks:
    """What a prompt's tags ask for.

    `names` are the spellings in the prompt, one for each of `uses`; `missing` those that no file
    has; `problem` says what was wrong with the tags.
    """

    uses: tuple[NetworkUse, ...] = ()
    names: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A tag's arguments, read: the name, and how strongly it is wanted."""

    name: str
    text_weight: float
    unet_weight: float
    dyn_dim: int | None


def split_networks(prompt: str) -> tuple[str, tuple[NetworkTag, ...]]:
    """The prompt without its tags, and the tags in order."""
    # Without a `>` to come, each `<x:` would be searched to the end in vain.
    end = prompt.rfind(">") + 1
    head, tail = prompt[:end], prompt[end:]
    tags = tuple(NetworkTag(match[1], tuple(match[2].split(":"))) for match in _TAG.finditer(head))
    return _TAG.sub("", head) + tail, tags


def network_uses(
    tags: Sequence[NetworkTag], find: Callable[[str], NetworkInfo | None]
) -> FoundNetworks:
    """Which networks the tags of a positive prompt put on; `find` looks a name up.

    A tag is `<lora:NAME:te:unet:dyn>`; the last three may be left out, or named as in `te=0.5`.
    `unet` is `te` unless given, `te` is 1. A name that comes twice is put on twice, each time as
    the last one says. Tags of one kind stay together, kinds in the order of their first tag.

    As in the reference, one number that is none (or is not finite) takes off all networks.
    """
    mine = [tag for tag in tags if tag.kind in KINDS]
    kinds = list(dict.fromkeys(tag.kind for tag in mine))
    mine.sort(key=lambda tag: kinds.index(tag.kind))
    problem = None
    if len(mine) > MOST_NETWORKS:
        problem = f"{len(mine)} networks in one prompt: only the first {MOST_NETWORKS} are used"
        mine = mine[:MOST_NETWORKS]
    asked: list[_Asked] = []
    for tag in mine:
        try:
            asked.append(_read(tag))
        except ValueError as error:
            written = ":".join((tag.kind, *tag.arguments))
            return FoundNetworks(problem=f"no networks are used: in <{written}>, {error}")
    last = {each.name: each for each in asked}
    found = [(each.name, find(each.name)) for each in asked]
    return FoundNetworks(
        uses=tuple(_use(info, last[name]) for name, info in found if info is not None),
        names=tuple(name for name, info in found if info is not None),
        missing=tuple(name for name, info in found if info is None),
        problem=problem,
    )


def lora_hashes(
    passes: Iterable[FoundNetworks], hashed: Callable[[NetworkInfo], NetworkInfo]
) -> str | None:
    """What "Lora hashes" says in the infotext, or None where it is left out.

    `passes` are the networks of the prompt and, with hires fix, of the hires prompt; `hashed` gives
    an entry its short hash, and may read the file for it. A name stands once, as it was typed.
    """
    hashes: dict[str, str] = {}
    for found in passes:
        for name, use in zip(found.names, found.uses, strict=True):
            short_hash = hashed(use.network).short_hash
            if short_hash is not None:
                hashes[name.translate(_HASHES_SEPARATORS)] = short_hash
    return ", ".join(f"{name}: {short}" for name, short in hashes.items()) or None


def _read(tag: NetworkTag) -> _Asked:
    """Read a tag's arguments. Raises ValueError."""
    positional: list[str] = []
    named: dict[str, str] = {}
    for argument in tag.arguments:
        key, equals, value = argument.partition("=")
        # A file's own name may well hold an `=`, so the first argument counts only as those known.
        is_named = equals and "=" not in value and (positional or key in _NAMED)
        if is_named:
            named[key] = value
        else:
            positional.append(argument)
    if not positional:
        raise ValueError("there is no name")
    values = dict(zip(_NAMED, positional[1:], strict=False)) | named
    text_weight = _number(values.get("te", "1"))
    unet_weight = _number(values["unet"]) if "unet" in values else text_weight
    dyn_dim = _whole(values["dyn"]) if "dyn" in values else None
    return _Asked(
        name=positional[0], text_weight=text_weight, unet_weight=unet_weight, dyn_dim=dyn_dim
    )


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no number")
    return value


def _whole(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise ValueError(f"{text!r} is no whole number") from None
    return max(-_LARGEST_DIM, min(value, _LARGEST_DIM))


def _use(info: NetworkInfo, asked: _Asked) -> NetworkUse:
    return NetworkUse(
        network=info,
        text_weight=asked.text_weight,
        unet_weight=asked.unet_weight,
        dyn_dim=asked.dyn_dim,
    )
