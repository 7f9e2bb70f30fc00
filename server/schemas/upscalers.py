"""`GET /sdapi/v1/upscalers` and `/latent-upscale-modes`."""

from pydantic import Field

from .base import Reply


class UpscalerItem(Reply):
    """An upscaler of decoded pictures; every key is present, null where there is no model."""

    name: str
    model_name: str | None = None
    model_path: str | None = Field(default=None, title="Path")
    model_url: str | None = Field(default=None, title="URL")
    scale: float | None = None


class LatentUpscalerModeItem(Reply):
    """A way to enlarge latents."""

    name: str
