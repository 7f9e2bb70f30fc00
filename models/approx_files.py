"""Which cheap stand-ins for autoencoders there are: their weights' files; torch-free."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from .catalog import SAFETENSORS

TAESD_FOLDER = "VAE-taesd"
NETWORK_FOLDER = "VAE-approx"
_PICKLES = (".pth", ".pt")

#: What latents mean: SD2 kept the meaning that they have in SD1, SDXL has one of its own.
LatentSpace = Literal["SD1", "SDXL"]
#: what TAESD's files and the network's are called for each
_NAMES: Mapping[LatentSpace, tuple[str, str]] = MappingProxyType(
    {"SD1": ("taesd", "model"), "SDXL": ("taesdxl", "vaeapprox-sdxl")}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproxFiles:
    """The files for one kind of latents: TAESD's halves, and the network that draws previews."""

    taesd_decoder: Path | None = None
    taesd_encoder: Path | None = None
    network: Path | None = None


Approximations = Mapping[LatentSpace, ApproxFiles]
#: no files for any kind of latents
NO_APPROXIMATIONS: Approximations = MappingProxyType({space: ApproxFiles() for space in _NAMES})


def find_approx(models_dir: Path, *, allow_pickle: bool) -> Approximations:
    """Look for them where a webui keeps them: `VAE-taesd/taesd_*`, `VAE-approx/model.*`.

    SDXL's are `taesdxl_*` and `vaeapprox-sdxl.*`. Safetensors first; pickles only where they are
    allowed.
    """
    endings = (SAFETENSORS, *(_PICKLES if allow_pickle else ()))
    taesd, approx = models_dir / TAESD_FOLDER, models_dir / NETWORK_FOLDER
    return MappingProxyType(
        {
            space: ApproxFiles(
                taesd_decoder=_first(taesd / f"{small}_decoder{ending}" for ending in endings),
                taesd_encoder=_first(taesd / f"{small}_encoder{ending}" for ending in endings),
                network=_first(approx / f"{network}{ending}" for ending in endings),
            )
            for space, (small, network) in _NAMES.items()
        }
    )


def _first(paths: Iterable[Path]) -> Path | None:
    return next((path for path in paths if path.is_file()), None)
