"""Replies of the list endpoints: checkpoints, samplers, schedulers, memory."""

from typing import Any

from pydantic import Field

from .base import Reply


class SDModelItem(Reply):
    """A checkpoint of `GET /sdapi/v1/sd-models`; every key is present, null where unknown."""

    title: str
    model_name: str
    hash: str | None = Field(default=None, title="Short hash")
    sha256: str | None = Field(default=None, title="sha256 hash")
    filename: str
    config: str | None = Field(default=None, title="Config file")


class SamplerItem(Reply):
    """A sampler of `GET /sdapi/v1/samplers`; traits that hold are the text "True"."""

    name: str
    aliases: list[str]
    options: dict[str, str]


class SchedulerItem(Reply):
    """A sigma schedule of `GET /sdapi/v1/schedulers`; `default_rho` is -1 where there is none."""

    name: str
    label: str
    aliases: list[str] | None = None
    default_rho: float | None = None
    need_inner_model: bool | None = Field(default=None, title="Needs Inner Model")


class MemoryResponse(Reply):
    """Bytes in use of `GET /sdapi/v1/memory`; a part that cannot be read is `{"error": text}`."""

    ram: dict[str, Any] = Field(title="RAM", description="System memory stats")
    cuda: dict[str, Any] = Field(title="CUDA", description="nVidia CUDA memory stats")
