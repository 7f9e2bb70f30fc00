"""`GET /sdapi/v1/sd-vae`."""

from .base import Reply


class SDVaeItem(Reply):
    """A VAE file; `model_name` is its file name with extension."""

    model_name: str
    filename: str
