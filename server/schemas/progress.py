"""`GET /sdapi/v1/progress`, `POST /internal/progress` and `POST /internal/cancel`."""

from pydantic import BaseModel, Field

from .base import Reply, WireRequest
from .lax import LaxBool, LaxInt, LaxStr


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


class ProgressRequest(WireRequest):
    """Which job is asked for, and what its client has seen of it."""

    id_task: LaxStr | None = Field(
        default=None, title="Task ID", description="id of the task to get progress for"
    )
    id_live_preview: LaxInt = Field(
        default=-1,
        title="Live preview image ID",
        description="id of last received last preview image",
    )
    live_preview: LaxBool = Field(
        default=True,
        title="Include live preview",
        description="boolean flag indicating whether to include the live preview image",
    )


class TaskProgress(Reply):
    """How far the job of an id is, as the reference's own page is told."""

    active: bool = Field(title="Whether the task is being worked on right now")
    queued: bool = Field(title="Whether the task is in queue")
    completed: bool = Field(title="Whether the task has already finished")
    progress: float | None = Field(
        default=None, title="Progress", description="The progress with a range of 0 to 1"
    )
    eta: float | None = Field(default=None, title="ETA in secs")
    live_preview: str | None = Field(
        default=None,
        title="Live preview image",
        description="Current live preview; a data: uri",
    )
    id_live_preview: int | None = Field(
        default=None,
        title="Live preview image ID",
        description="Send this together with next request to prevent receiving same image",
    )
    textinfo: str | None = Field(
        default=None, title="Info text", description="Info text used by WebUI."
    )


class CancelRequest(WireRequest):
    """Which job is to be dropped."""

    id_task: LaxStr
