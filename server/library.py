"""The catalogs of the folders that the settings name, and the thread that hashes their files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from models import webui_cache
from models.approx_files import find_approx
from models.catalog import Catalog
from models.demo import DEMO_CHECKPOINT
from models.hash_pass import HashPass
from models.hashing import HashCache
from models.library import Library
from models.networks.files import NetworkCatalog
from models.tool_files import ToolFiles
from models.vae_files import VaeCatalog

from .settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelves:
    """The catalogs, and what is known of their files."""

    library: Library
    hashes: HashCache
    settings: Settings

    def hash_pass(self, busy: Callable[[], bool]) -> HashPass | None:
        """The thread that hashes while the server is not `busy`; None where flags forbid it."""
        if self.settings.no_hashing or self.settings.no_background_hashing:
            return None
        return HashPass(self.library, self.hashes, busy=busy)


def open_shelves(settings: Settings) -> Shelves:
    """The catalogs of the folders that `settings` name, scanned; hashes of a webui are taken over.

    Raises `CheckpointError` for an unusable file that the command line names.
    """
    hashes = HashCache(settings.cache_path / "hashes.sqlite3")
    hashing, allow_pickle = not settings.no_hashing, settings.allow_pickle
    library = Library(
        checkpoints=Catalog(
            settings.checkpoint_dirs,
            explicit=settings.ckpt,
            hashes=hashes,
            hashing=hashing,
            allow_pickle=allow_pickle,
            demo=DEMO_CHECKPOINT,
        ),
        vaes=VaeCatalog(
            settings.vae_dirs,
            settings.checkpoint_dirs,
            hashes=hashes,
            hashing=hashing,
            allow_pickle=allow_pickle,
            explicit=settings.vae_path,
        ),
        networks=NetworkCatalog(
            (settings.lora_dir, settings.lyco_dir_backcompat),
            hashes=hashes,
            hashing=hashing,
            allow_pickle=allow_pickle,
        ),
        approx=find_approx(settings.models_path, allow_pickle=allow_pickle),
        tools={kind: ToolFiles(kind, (folder,)) for kind, folder in _tool_dirs(settings).items()},
    )
    library.scan()
    if hashing:
        for folder in dict.fromkeys((settings.data_path, settings.models_path.parent)):
            webui_cache.take_over(folder / webui_cache.FILE_NAME, library, hashes)
    return Shelves(library=library, hashes=hashes, settings=settings)


def _tool_dirs(settings: Settings) -> Mapping[str, Path]:
    """The folder of each kind of files that are no part of a Stable Diffusion model."""
    models = settings.models_path
    return {
        "BSRGAN": settings.bsrgan_models_path,
        "Codeformer": settings.codeformer_models_path,
        "DAT": settings.dat_models_path,
        "ESRGAN": settings.esrgan_models_path,
        "GFPGAN": settings.gfpgan_models_path,
        "insightface": models / "insightface",
        "LDSR": settings.ldsr_models_path,
        "nudenet": models / "nudenet",
        "RealESRGAN": settings.realesrgan_models_path,
        "roop": models / "roop",
        "ScuNET": settings.scunet_models_path,
        "SwinIR": settings.swinir_models_path,
        "u2net": models / "u2net",
    }
