"""What pictures can be enlarged with: `GET /sdapi/v1/upscalers` and `/latent-upscale-modes`."""

from fastapi import APIRouter

from pipelines.upscalers import LATENT_UPSCALERS, PIXEL_UPSCALERS

from ..schemas.upscalers import LatentUpscalerModeItem, UpscalerItem

router = APIRouter()

_DEFAULT_SCALE = 4.0


@router.get("/sdapi/v1/upscalers", response_model=list[UpscalerItem])
async def get_upscalers() -> list[UpscalerItem]:
    """Every upscaler of decoded pictures that is there."""
    return [UpscalerItem(name=name, scale=_DEFAULT_SCALE) for name in PIXEL_UPSCALERS]


@router.get("/sdapi/v1/latent-upscale-modes", response_model=list[LatentUpscalerModeItem])
async def get_latent_upscale_modes() -> list[LatentUpscalerModeItem]:
    """Every way to enlarge latents."""
    return [LatentUpscalerModeItem(name=name) for name in LATENT_UPSCALERS]
