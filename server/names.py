"""What there is by name, as extensions and `/sdapi/v1/script-info` tell of it."""

from types import MappingProxyType

from extensions.wanted import Names
from models.library import Library
from pipelines.samplers import SAMPLERS
from pipelines.schedules import SCHEDULES
from pipelines.upscalers import PIXEL_UPSCALERS


def names(library: Library) -> Names:
    """The names of upscalers, samplers, schedulers, checkpoints (their titles) and VAEs."""
    return MappingProxyType(
        {
            "upscalers": tuple(PIXEL_UPSCALERS),
            "samplers": tuple(sampler.name for sampler in SAMPLERS),
            "schedulers": tuple(schedule.label for schedule in SCHEDULES),
            "checkpoints": tuple(info.title for info in library.checkpoints.checkpoints()),
            "vaes": tuple(info.name for info in library.vaes.vaes()),
        }
    )
