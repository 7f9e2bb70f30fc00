"""Extra networks: `<lora:name:0.8>` tags, which belong to the prompt's text but are not drawn."""

import re
from dataclasses import dataclass

_TAG = re.compile(r"<(\w+):([^<>]+)>")


@dataclass(frozen=True, slots=True)
class NetworkTag:
    """One tag: its kind (`lora`, ...) and what stood between its colons."""

    kind: str
    arguments: tuple[str, ...]

    @property
    def name(self) -> str:
        """The network's name, the first argument."""
        return self.arguments[0]


def split_networks(prompt: str) -> tuple[str, tuple[NetworkTag, ...]]:
    """The prompt without its tags, and the tags in order."""
    tags = tuple(
        NetworkTag(match[1], tuple(match[2].split(":"))) for match in _TAG.finditer(prompt)
    )
    return _TAG.sub("", prompt), tags
