"""What pictures can be enlarged with: `GET /sdapi/v1/upscalers` and `/latent-upscale-modes`."""

from collections.abc import Mapping
from types import MappingProxyType

from fastapi import APIRouter

from models.upscalers.files import DEFAULT_SCALE, UpscalerFile, find_upscalers
from pipelines.upscalers import LATENT_UPSCALERS

from ..schemas.upscalers import LatentUpscalerModeItem, UpscalerItem
from ..services import ServicesDep

router = APIRouter()

_MODEL_NAMES: Mapping[str, str] = MappingProxyType(
    {"ESRGAN": "ESRGAN_4x", "ScuNET": "ScuNET GAN", "SwinIR": "SwinIR 4x"}
)
"""What the reference calls all models of a kind; those of others have no such name."""


@router.get("/sdapi/v1/upscalers", response_model=list[UpscalerItem])
async def get_upscalers(services: ServicesDep) -> list[UpscalerItem]:
    """Every upscaler of decoded pictures that is there; `model_path` is its file."""
    files = {file.name: file for file in find_upscalers(services.library.tools)}
    return [_item(name, files.get(name)) for name in services.tools.upscalers]


@router.get("/sdapi/v1/latent-upscale-modes", response_model=list[LatentUpscalerModeItem])
async def get_latent_upscale_modes() -> list[LatentUpscalerModeItem]:
    """Every way to enlarge latents."""
    return [LatentUpscalerModeItem(name=name) for name in LATENT_UPSCALERS]


def _item(name: str, file: UpscalerFile | None) -> UpscalerItem:
    if file is None:
        return UpscalerItem(name=name, scale=DEFAULT_SCALE)
    return UpscalerItem(
        name=name,
        model_name=_MODEL_NAMES.get(file.kind),
        model_path=str(file.path),
        scale=file.scale,
    )
