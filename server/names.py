"""What there is by name, as extensions and `/sdapi/v1/script-info` tell of it."""

from types import MappingProxyType

from extensions.wanted import Names
from models.library import Library
from pipelines.samplers import SAMPLERS
from pipelines.schedules import SCHEDULES

from .tools import PLAIN, Tools

GFPGAN, CODEFORMER = "GFPGAN", "CodeFormer"
RESTORERS = (CODEFORMER, GFPGAN)
"""Restorers of faces that may be named, with or without their weights."""


def names(library: Library, tools: Tools = PLAIN) -> Names:
    """The names of upscalers that are here, face restorers, samplers, schedulers, checkpoints and
    VAEs; a checkpoint's is its title.
    """
    return MappingProxyType(
        {
            "upscalers": tuple(tools.upscalers),
            "restorers": RESTORERS,
            "samplers": tuple(sampler.name for sampler in SAMPLERS),
            "schedulers": tuple(schedule.label for schedule in SCHEDULES),
            "checkpoints": tuple(info.title for info in library.checkpoints.checkpoints()),
            "vaes": tuple(info.name for info in library.vaes.vaes()),
        }
    )
