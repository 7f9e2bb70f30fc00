"""Which cheap stand-ins for autoencoders there are: their weights' files; torch-free."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .catalog import SAFETENSORS

TAESD_FOLDER = "VAE-taesd"
NETWORK_FOLDER = "VAE-approx"
_PICKLES = (".pth", ".pt")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproxFiles:
    """The files for SD1: TAESD's two halves, and the small network that draws previews."""

    taesd_decoder: Path | None = None
    taesd_encoder: Path | None = None
    network: Path | None = None


def find_approx(models_dir: Path, *, allow_pickle: bool) -> ApproxFiles:
    """Look for them where a webui keeps them: `VAE-taesd/taesd_*`, `VAE-approx/model.*`.

    Safetensors first; pickles only where they are allowed.
    """
    endings = (SAFETENSORS, *(_PICKLES if allow_pickle else ()))
    taesd, approx = models_dir / TAESD_FOLDER, models_dir / NETWORK_FOLDER
    return ApproxFiles(
        taesd_decoder=_first(taesd / f"taesd_decoder{ending}" for ending in endings),
        taesd_encoder=_first(taesd / f"taesd_encoder{ending}" for ending in endings),
        network=_first(approx / f"model{ending}" for ending in endings),
    )


def _first(paths: Iterable[Path]) -> Path | None:
    return next((path for path in paths if path.is_file()), None)
