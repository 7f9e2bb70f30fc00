"""`POST /sdapi/v1/interrogate`."""

from pydantic import Field

from .base import WireRequest
from .lax import LaxStr


class InterrogateRequest(WireRequest):
    """A picture that is to be put into words, and by which model."""

    image: LaxStr = Field(
        default="",
        description="Image to work on, must be a Base64 string containing the image's data.",
    )
    model: LaxStr = Field(default="clip", description="The interrogate model used.")
