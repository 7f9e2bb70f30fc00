"""`POST /sdapi/v1/png-info`."""

from typing import Any

from pydantic import Field

from .base import Reply, WireRequest
from .lax import LaxStr


class PNGInfoRequest(WireRequest):
    """A picture whose generation parameters are wanted."""

    image: LaxStr = Field(description="The base64 encoded PNG image")


class PNGInfoResponse(Reply):
    """The parameters as text and as fields, and the picture's other metadata."""

    info: str = Field(
        title="Image info",
        description="A string with the parameters used to generate the image",
    )
    items: dict[str, Any] = Field(
        description="A dictionary containing all the other fields the image had"
    )
    parameters: dict[str, Any] = Field(
        description="A dictionary with parsed generation info fields"
    )
