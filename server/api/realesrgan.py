"""`GET /sdapi/v1/realesrgan-models`: the models that are published, here or not."""

from fastapi import APIRouter

from ..schemas.tools import RealesrganItem

router = APIRouter()

_PUBLISHED = "https://github.com/xinntao/Real-ESRGAN/releases/download"
_MODELS = (
    ("R-ESRGAN General 4xV3", "v0.2.5.0/realesr-general-x4v3.pth", 4),
    ("R-ESRGAN General WDN 4xV3", "v0.2.5.0/realesr-general-wdn-x4v3.pth", 4),
    ("R-ESRGAN AnimeVideo", "v0.2.5.0/realesr-animevideov3.pth", 4),
    ("R-ESRGAN 4x+", "v0.1.0/RealESRGAN_x4plus.pth", 4),
    ("R-ESRGAN 4x+ Anime6B", "v0.2.2.4/RealESRGAN_x4plus_anime_6B.pth", 4),
    ("R-ESRGAN 2x+", "v0.2.1/RealESRGAN_x2plus.pth", 2),
)


@router.get("/sdapi/v1/realesrgan-models", response_model=list[RealesrganItem])
async def get_realesrgan_models() -> list[RealesrganItem]:
    """Every published model; `path` is where it can be had."""
    return [
        RealesrganItem(name=name, path=f"{_PUBLISHED}/{file}", scale=scale)
        for name, file, scale in _MODELS
    ]
