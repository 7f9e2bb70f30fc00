"""All the files of weights that names on the wire can mean; torch-free."""

from dataclasses import dataclass

from .approx_files import ApproxFiles
from .catalog import Catalog
from .networks.files import NetworkCatalog
from .vae_files import VaeCatalog


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """The catalogs of the server's folders."""

    checkpoints: Catalog
    vaes: VaeCatalog
    networks: NetworkCatalog
    approx: ApproxFiles
