"""A library of a few small files, made for a test."""

from pathlib import Path

from models.catalog import Catalog
from models.hashing import HashCache
from models.library import Library
from models.networks.files import NetworkCatalog
from models.vae_files import VaeCatalog


def library(folder: Path, hashes: HashCache, *, allow_pickle: bool = False) -> Library:
    """The files in the folder's `models`, `VAE` and `Lora`, scanned."""
    made = Library(
        checkpoints=Catalog(
            (folder / "models",),
            explicit=None,
            hashes=hashes,
            hashing=True,
            allow_pickle=allow_pickle,
            demo=Path("/absent/demo.safetensors"),
        ),
        vaes=VaeCatalog(
            (folder / "VAE",), (), hashes=hashes, hashing=True, allow_pickle=allow_pickle
        ),
        networks=NetworkCatalog(
            (folder / "Lora",), hashes=hashes, hashing=True, allow_pickle=allow_pickle
        ),
        approx={},
    )
    made.scan()
    return made
