"""Replies of the routes under `/internal` that tell of the server itself, and of `/config`."""

from pydantic import Field

from .base import Reply


class VersionReply(Reply):
    """The version of this server, and that of the webui whose answers it gives."""

    darkroom: str
    webui: str


class StartupReply(Reply):
    """How many seconds the start took, in all and stage by stage."""

    total: float
    records: dict[str, float]


class QuicksettingsHint(Reply):
    """A setting and what it is called."""

    name: str = Field(title="Name of the quicksettings field")
    label: str = Field(title="Label of the quicksettings field")


class PageProps(Reply):
    """What a control of webui's page offers."""

    elem_id: str
    choices: list[str]


class PageComponent(Reply):
    """A control of webui's page."""

    id: int
    type: str = "dropdown"
    props: PageProps


class PageReply(Reply):
    """As much of the description of webui's page as clients read lists from."""

    version: str
    components: list[PageComponent]
