"""`POST /sdapi/v1/txt2img`: the request with every field of the wire, and the reply."""

from .generation import Drawing, GenerationReply, GenerationRequest, Prompt
from .lax import LaxBool, LaxFloat, LaxInt, LaxStr


class Hires(Drawing):
    """The second pass."""

    enable_hr: LaxBool = False
    firstphase_width: LaxInt = 0
    firstphase_height: LaxInt = 0
    hr_scale: LaxFloat = 2.0
    hr_upscaler: LaxStr | None = None
    hr_second_pass_steps: LaxInt = 0
    hr_resize_x: LaxInt = 0
    hr_resize_y: LaxInt = 0
    hr_checkpoint_name: LaxStr | None = None
    hr_sampler_name: LaxStr | None = None
    hr_scheduler: LaxStr | None = None
    hr_prompt: Prompt = ""
    hr_negative_prompt: Prompt = ""


class StableDiffusionProcessingTxt2Img(GenerationRequest, Hires):
    """A txt2img request; the class's name is OpenAPI's."""


class TextToImageResponse(GenerationReply):
    """The reply; the class's name is OpenAPI's."""


Txt2ImgRequest = StableDiffusionProcessingTxt2Img
Txt2ImgReply = TextToImageResponse
