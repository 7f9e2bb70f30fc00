"""The networks that the prompts of one request wear: each prompt is looked up once."""

from collections.abc import Iterable

from models.networks.files import NetworkCatalog
from pipelines.prompt.networks import FoundNetworks, network_uses, split_networks


class Wardrobe:
    """Looks networks up for one request.

    Where one is missing the folders are looked at again, for it may have come since: once a
    request, however many of its prompts name what is not there.
    """

    def __init__(self, catalog: NetworkCatalog) -> None:
        """Look up in `catalog`; nothing is done yet."""
        self._catalog = catalog
        self._found: dict[str, FoundNetworks] = {}
        self._looked_again = False

    def worn(self, prompt: str) -> FoundNetworks:
        """What the tags of a prompt ask for."""
        if prompt not in self._found:
            self._found[prompt] = self._look_up(prompt)
        return self._found[prompt]

    def warnings(self, prompts: Iterable[str]) -> tuple[str, ...]:
        """What the tags of these prompts ask for in vain, each told once."""
        told: dict[str, None] = {}
        for prompt in prompts:
            found = self.worn(prompt)
            told |= dict.fromkeys(f"lora not found: {name}" for name in found.missing)
            told |= dict.fromkeys([found.problem] if found.problem else [])
        return tuple(told)

    def _look_up(self, prompt: str) -> FoundNetworks:
        tags = split_networks(prompt)[1]
        found = network_uses(tags, self._catalog.find)
        if not found.missing or self._looked_again:
            return found
        self._looked_again = True
        self._catalog.scan()
        return network_uses(tags, self._catalog.find)
