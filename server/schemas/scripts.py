"""Replies of `GET /sdapi/v1/scripts` and `/script-info`."""

from typing import Any

from pydantic import Field

from .base import Reply


class ScriptsList(Reply):
    """The titles of scripts, those that are always on behind those that clients select."""

    txt2img: list[Any] = Field(default=[], description="Titles of scripts (txt2img)")
    img2img: list[Any] = Field(default=[], description="Titles of scripts (img2img)")


class ScriptArg(Reply):
    """An argument of a script; `choices` is null where any value will do."""

    label: str | None = Field(default=None, description="Name of the argument in UI")
    value: Any = Field(default=None, description="Default value of the argument")
    minimum: Any = Field(default=None, description="Minimum allowed value for the argumentin UI")
    maximum: Any = Field(
        default=None, title="Minimum", description="Maximum allowed value for the argumentin UI"
    )
    step: Any = Field(
        default=None,
        title="Minimum",
        description="Step for changing value of the argumentin UI",
    )
    choices: list[str] | None = Field(default=None, description="Possible values for the argument")


class ScriptInfo(Reply):
    """A script of one mode and its arguments, in the order in which they are sent."""

    name: str | None = Field(default=None, description="Script name")
    is_alwayson: bool | None = Field(
        default=None,
        title="IsAlwayson",
        description="Flag specifying whether this script is an alwayson script",
    )
    is_img2img: bool | None = Field(
        default=None,
        title="IsImg2img",
        description="Flag specifying whether this script is an img2img script",
    )
    args: list[ScriptArg] = Field(title="Arguments", description="List of script's arguments")
