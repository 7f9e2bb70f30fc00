"""Replies of the routes that list what pictures and prompts can be worked on with."""

from typing import Any

from pydantic import Field

from .base import Reply


class HypernetworkItem(Reply):
    """A hypernetwork."""

    name: str
    path: str | None = None


class FaceRestorerItem(Reply):
    """A way to restore faces; `cmd_dir` is always null."""

    name: str
    cmd_dir: str | None = Field(default=None, title="Path")


class RealesrganItem(Reply):
    """A RealESRGAN model: where it is published, and how many times it enlarges."""

    name: str
    path: str | None = None
    scale: int | None = None


class PromptStyleItem(Reply):
    """A prompt style."""

    name: str
    prompt: str | None = None
    negative_prompt: str | None = None


class LoraItem(Reply):
    """A network file: the names a prompt may call it by, and what its trainer wrote into it."""

    name: str
    alias: str
    path: str
    metadata: dict[str, Any]


class ExtensionItem(Reply):
    """An extension and the repository it came from."""

    name: str = Field(description="Extension name")
    remote: str = Field(description="Extension Repository URL")
    branch: str = Field(description="Extension Repository Branch")
    commit_hash: str = Field(description="Extension Repository Commit Hash")
    version: str = Field(description="Extension Version")
    commit_date: str = Field(description="Extension Repository Commit Date")
    enabled: bool = Field(description="Flag specifying whether this extension is enabled")
