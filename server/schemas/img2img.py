"""`POST /sdapi/v1/img2img`: the request with every field of the wire, and the reply."""

from typing import Any, ClassVar

from .generation import Drawing, GenerationReply, GenerationRequest, Task
from .lax import LaxBool, LaxFloat, LaxInt, LaxList, LaxStr


class Init(Drawing):
    """The pictures to begin with, and the mask of what is to be repainted."""

    init_images: LaxList | None = None
    resize_mode: LaxInt = 0
    image_cfg_scale: LaxFloat | None = None
    mask: LaxStr | None = None
    mask_blur_x: LaxInt = 4
    mask_blur_y: LaxInt = 4
    mask_blur: LaxInt | None = None
    mask_round: LaxBool = True
    inpainting_fill: LaxInt = 0
    inpaint_full_res: LaxBool = True
    inpaint_full_res_padding: LaxInt = 0
    inpainting_mask_invert: LaxInt = 0
    initial_noise_multiplier: LaxFloat | None = None
    latent_mask: LaxStr | None = None


class Sending(Task):
    """What of the request is sent back."""

    include_init_images: LaxBool = False


class StableDiffusionProcessingImg2Img(GenerationRequest, Sending, Init):
    """An img2img request; the class's name is OpenAPI's."""

    never_null: ClassVar[frozenset[str]] = GenerationRequest.never_null | {
        "denoising_strength",
        "include_init_images",
    }

    denoising_strength: LaxFloat = 0.75

    def echo(self) -> dict[str, Any]:
        """The reply's `parameters`; pictures are in it only where the request asks for them."""
        left_out = {} if self.include_init_images else {"init_images": None, "mask": None}
        return super().echo() | left_out


class ImageToImageResponse(GenerationReply):
    """The reply; the class's name is OpenAPI's."""


Img2ImgRequest = StableDiffusionProcessingImg2Img
Img2ImgReply = ImageToImageResponse
