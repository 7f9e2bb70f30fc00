"""What every generation's request and reply have in common.

The echo lists a route's own fields among the common ones, and a model's fields come in the reverse
of its resolution order. So these are in groups: a route's group that derives from a group here
stands right behind it.
"""

from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from .base import Reply, WireRequest
from .lax import LaxBool, LaxDict, LaxFloat, LaxInt, LaxList, LaxSeed, LaxStr, LaxStrList, at_most
from .limits import MAX_PROMPT, check_spans

Prompt = Annotated[LaxStr, AfterValidator(at_most(MAX_PROMPT))]


class Drawing(WireRequest):
    """What is to be drawn, by which sampler, under which settings."""

    prompt: Prompt = ""
    negative_prompt: Prompt = ""
    styles: LaxStrList | None = None
    seed: LaxSeed = -1
    subseed: LaxSeed = -1
    subseed_strength: LaxFloat = 0
    seed_resize_from_h: LaxInt = -1
    seed_resize_from_w: LaxInt = -1
    sampler_name: LaxStr | None = None
    scheduler: LaxStr | None = None
    batch_size: LaxInt = 1
    n_iter: LaxInt = 1
    steps: LaxInt = 50
    cfg_scale: LaxFloat = 7.0
    width: LaxInt = 512
    height: LaxInt = 512
    restore_faces: LaxBool | None = None
    tiling: LaxBool | None = None
    do_not_save_samples: LaxBool = False
    do_not_save_grid: LaxBool = False
    eta: LaxFloat | None = None
    denoising_strength: LaxFloat | None = None
    s_min_uncond: LaxFloat | None = None
    s_churn: LaxFloat | None = None
    s_tmax: LaxFloat | None = None
    s_tmin: LaxFloat | None = None
    s_noise: LaxFloat | None = None
    override_settings: LaxDict | None = None
    override_settings_restore_afterwards: LaxBool = True
    refiner_checkpoint: LaxStr | None = None
    refiner_switch_at: LaxFloat | None = None
    disable_extra_networks: LaxBool = False
    firstpass_image: LaxStr | None = None
    comments: LaxDict | None = None


class Task(WireRequest):
    """Under which id it runs, and the sampler where `sampler_name` gives none."""

    force_task_id: LaxStr | None = None
    sampler_index: LaxStr = "Euler"


class Scripts(WireRequest):
    """Which scripts take part, and what is sent and kept."""

    script_name: LaxStr | None = None
    script_args: LaxList = Field(default=[])
    send_images: LaxBool = True
    save_images: LaxBool = False
    alwayson_scripts: LaxDict = Field(default={})
    infotext: LaxStr | None = None


class GenerationRequest(Scripts, Task, Drawing):
    """The fields of every generation.

    A field sent as null holds its default here, and null in the echo.
    """

    never_null: ClassVar[frozenset[str]] = frozenset(
        {"sampler_index", "script_args", "send_images", "save_images", "alwayson_scripts"}
    )
    """Where these fields are null the reference answers 422; the others it echoes as null."""

    @model_validator(mode="after")
    def _within_limits(self) -> Self:
        check_spans(type(self).__name__, dict(self))
        return self

    def echo(self) -> dict[str, Any]:
        """The reply's `parameters`: every field after coercion, in the wire's order."""
        nulls = self._nulls - self.never_null
        return {name: None if name in nulls else value for name, value in self}


class GenerationReply(Reply):
    """The reply to a generation: base64 pictures, the request's echo, and `info` as JSON text."""

    images: list[str] | None = Field(
        default=None, title="Image", description="The generated image in base64 format."
    )
    parameters: dict[str, Any]
    info: str
