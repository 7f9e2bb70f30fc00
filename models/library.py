"""All the files of weights that names on the wire can mean; torch-free."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .approx_files import Approximations
from .catalog import Catalog
from .hashing import Unhashed
from .networks.files import NetworkCatalog
from .tool_files import ToolFiles
from .vae_files import VaeCatalog


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """The catalogs of the server's folders; `tools` by the kinds of `tool_files.ENDINGS`."""

    checkpoints: Catalog
    vaes: VaeCatalog
    networks: NetworkCatalog
    approx: Approximations
    tools: Mapping[str, ToolFiles] = field(default_factory=lambda: MappingProxyType({}))

    def scan(self) -> None:
        """Look at every file again. Raises as the catalogs do for files named explicitly."""
        self.checkpoints.scan()
        self.vaes.scan()
        self.networks.scan()

    def unhashed(self) -> tuple[Unhashed, ...]:
        """Tell which files no hash is known of, those of checkpoints first."""
        return (
            *self.checkpoints.unhashed(),
            *self.networks.unhashed(),
            *self.vaes.unhashed(),
        )
