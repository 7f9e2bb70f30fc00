"""`GET /sdapi/v1/progress`."""

from pydantic import BaseModel, Field

from .base import Reply


class ProgressState(BaseModel):
    """What is running; typed clients demand every key."""

    skipped: bool = False
    interrupted: bool = False
    stopping_generation: bool = False
    job: str = ""
    job_count: int = 0
    job_timestamp: str = "0"
    job_no: int = 0
    sampling_step: int = 0
    sampling_steps: int = 0


class ProgressResponse(Reply):
    """How far the running job is; 0 and a `job_count` of 0 mean that none runs."""

    progress: float = Field(description="The progress with a range of 0 to 1")
    eta_relative: float = Field(title="ETA in secs")
    state: ProgressState = Field(description="The current state snapshot")
    current_image: str | None = Field(
        default=None,
        title="Current image",
        description="The current image in base64 format.",
    )
    textinfo: str | None = Field(
        default=None, title="Info text", description="Info text used by WebUI."
    )


ProgressReply = ProgressResponse
