"""The networks that the prompts of one request wear: each prompt is looked up once."""

from collections.abc import Iterable

from models.networks.files import NetworkCatalog
from pipelines.prompt.networks import FoundNetworks, network_uses, split_networks


class Wardrobe:
    """Looks networks up for one request, whose passes and images often share their prompts."""

    def __init__(self, catalog: NetworkCatalog) -> None:
        """Look up in `catalog`, which notices by itself what came or went; nothing is done yet."""
        self._catalog = catalog
        self._found: dict[str, FoundNetworks] = {}

    def worn(self, prompt: str) -> FoundNetworks:
        """What the tags of a prompt ask for."""
        if prompt not in self._found:
            tags = split_networks(prompt)[1]
            self._found[prompt] = network_uses(tags, self._catalog.find)
        return self._found[prompt]

    def warnings(self, prompts: Iterable[str]) -> tuple[str, ...]:
        """What the tags of these prompts ask for in vain, each told once."""
        told: dict[str, None] = {}
        for prompt in prompts:
            found = self.worn(prompt)
            told |= dict.fromkeys(f"lora not found: {name}" for name in found.missing)
            told |= dict.fromkeys([found.problem] if found.problem else [])
        return tuple(told)
