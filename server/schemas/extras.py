"""`POST /sdapi/v1/extra-single-image` and `/extra-batch-images`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from pipelines.upscalers import PIXEL_UPSCALERS

from .base import Reply, WireRequest
from .lax import LaxBool, LaxDict, LaxFloat, LaxInt, LaxStr
from .limits import MAX_IMAGES

_MODES = (0, 1)
_SHOWN = 80
"""Characters of a refused value that are sent back."""

_NAMES = f"it has to be one of this list: {' , '.join(PIXEL_UPSCALERS)}"


def _refusal(kind: str, relation: str, limit: int) -> PydanticCustomError:
    message = f"ensure this value is {relation} {{limit_value}}"
    return PydanticCustomError(f"value_error.number.{kind}", message, {"limit_value": limit})


def _share(value: float) -> float:
    if value < 0:
        raise _refusal("not_ge", "greater than or equal to", 0)
    if value > 1:
        raise _refusal("not_le", "less than or equal to", 1)
    return value


def _positive(value: float) -> float:
    if value <= 0:
        raise _refusal("not_gt", "greater than", 0)
    return value


def _one_or_more(value: int) -> int:
    if value < 1:
        raise _refusal("not_ge", "greater than or equal to", 1)
    return value


def _mode(value: object) -> int:
    if isinstance(value, int | float) and value in _MODES:
        return int(value)
    raise PydanticCustomError(
        "value_error.const",
        "unexpected value; permitted: 0, 1",
        {
            "given": value if isinstance(value, int) else repr(value)[:_SHOWN],
            "permitted": list(_MODES),
        },
    )


def _not_endless(images: list["FileData"]) -> list["FileData"]:
    if len(images) > MAX_IMAGES:
        raise PydanticCustomError(
            "value_error.list.max_items",
            "ensure this value has at most {limit_value} items",
            {"limit_value": MAX_IMAGES},
        )
    return images


Share = Annotated[
    LaxFloat,
    AfterValidator(_share),
    WithJsonSchema({"type": "number", "minimum": 0.0, "maximum": 1.0}),
]
Factor = Annotated[
    LaxFloat,
    AfterValidator(_positive),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0.0}),
]
Side = Annotated[
    LaxInt, AfterValidator(_one_or_more), WithJsonSchema({"type": "integer", "minimum": 1.0})
]


class ExtrasRequest(WireRequest):
    """How pictures are to be enlarged and their faces restored; defaults are the wire's."""

    resize_mode: Annotated[Literal[0, 1], BeforeValidator(_mode)] = Field(
        default=0,
        description="Sets the resize mode: 0 to upscale by upscaling_resize amount, 1 to upscale "
        "up to upscaling_resize_h x upscaling_resize_w.",
    )
    show_extras_results: LaxBool = Field(
        default=True,
        title="Show results",
        description="Should the backend return the generated image?",
    )
    gfpgan_visibility: Share = Field(
        default=0,
        title="GFPGAN Visibility",
        description="Sets the visibility of GFPGAN, values should be between 0 and 1.",
    )
    codeformer_visibility: Share = Field(
        default=0,
        title="CodeFormer Visibility",
        description="Sets the visibility of CodeFormer, values should be between 0 and 1.",
    )
    codeformer_weight: Share = Field(
        default=0,
        title="CodeFormer Weight",
        description="Sets the weight of CodeFormer, values should be between 0 and 1.",
    )
    upscaling_resize: Factor = Field(
        default=2,
        title="Upscaling Factor",
        description="By how much to upscale the image, only used when resize_mode=0.",
    )
    upscaling_resize_w: Side = Field(
        default=512,
        title="Target Width",
        description="Target width for the upscaler to hit. Only used when resize_mode=1.",
    )
    upscaling_resize_h: Side = Field(
        default=512,
        title="Target Height",
        description="Target height for the upscaler to hit. Only used when resize_mode=1.",
    )
    upscaling_crop: LaxBool = Field(
        default=True,
        title="Crop to fit",
        description="Should the upscaler crop the image to fit in the chosen size?",
    )
    upscaler_1: LaxStr = Field(
        default="None",
        title="Main upscaler",
        description=f"The name of the main upscaler to use, {_NAMES}",
    )
    upscaler_2: LaxStr = Field(
        default="None",
        title="Secondary upscaler",
        description=f"The name of the secondary upscaler to use, {_NAMES}",
    )
    extras_upscaler_2_visibility: Share = Field(
        default=0,
        title="Secondary upscaler visibility",
        description="Sets the visibility of secondary upscaler, values should be between 0 and 1.",
    )
    upscale_first: LaxBool = Field(
        default=False,
        title="Upscale first",
        description="Should the upscaler run before restoring faces?",
    )
    alwayson_scripts: LaxDict = Field(
        default={}, description="Extensions that work on the result, and their arguments."
    )


class ExtrasSingleImageRequest(ExtrasRequest):
    """One picture."""

    image: LaxStr = Field(
        default="",
        description="Image to work on, must be a Base64 string containing the image's data.",
    )


class FileData(BaseModel):
    """A picture and the name its sender gave it."""

    data: LaxStr = Field(title="File data", description="Base64 representation of the file")
    name: LaxStr = Field(title="File name")


class ExtrasBatchImagesRequest(ExtrasRequest):
    """Several pictures, all treated alike."""

    image_list: Annotated[list[FileData], AfterValidator(_not_endless)] = Field(
        alias="imageList",
        title="Images",
        description="List of images to work on. Must be Base64 strings",
    )


class ExtrasSingleImageResponse(Reply):
    """The picture, and what was done to it as a paragraph of HTML."""

    html_info: str = Field(
        title="HTML info", description="A series of HTML tags containing the process info."
    )
    image: str | None = Field(default=None, description="The generated image in base64 format.")


class ExtrasBatchImagesResponse(Reply):
    """The pictures, and what was done to the last of them as a paragraph of HTML."""

    html_info: str = Field(
        title="HTML info", description="A series of HTML tags containing the process info."
    )
    images: list[str] = Field(description="The generated images in base64 format.")
