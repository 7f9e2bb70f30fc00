"""What there is by name, as extensions and `/sdapi/v1/script-info` tell of it."""

from types import MappingProxyType

from extensions.wanted import Names
from models.faces.files import RESTORERS, FaceWeightsMissing, find_restorer
from models.library import Library
from models.upscalers.files import NOT_SUPPORTED, PUBLISHED
from pipelines.samplers import SAMPLERS
from pipelines.schedules import SCHEDULES

from .tools import PLAIN, Tools

#: folders of published upscalers, by what their names begin with
_FOLDERS = (
    ("ESRGAN", "ESRGAN"),
    ("R-ESRGAN", "RealESRGAN"),
    ("DAT", "DAT"),
    ("ScuNET", "ScuNET"),
    ("SwinIR", "SwinIR"),
)


def names(library: Library, tools: Tools = PLAIN) -> Names:
    """The names of upscalers that are here, of face restorers with or without their weights,
    samplers, schedulers, checkpoints (their titles) and VAEs.
    """
    return MappingProxyType(
        {
            "upscalers": tuple(tools.upscalers),
            "restorers": tuple(RESTORERS),
            "samplers": tuple(sampler.name for sampler in SAMPLERS),
            "schedulers": tuple(schedule.label for schedule in SCHEDULES),
            "checkpoints": tuple(info.title for info in library.checkpoints.checkpoints()),
            "vaes": tuple(info.name for info in library.vaes.vaes()),
        }
    )


def place_of(upscaler: str, library: Library) -> str | None:
    """Which file an upscaler is that clients know by name, and where it belongs, if it is one."""
    if upscaler in NOT_SUPPORTED:
        return NOT_SUPPORTED[upscaler]
    stem = next((stem for stem, (name, _) in PUBLISHED.items() if name == upscaler), None)
    folder = next((folder for begin, folder in _FOLDERS if upscaler.startswith(begin)), None)
    if stem is None or folder is None or folder not in library.tools:
        return None
    return f"{upscaler} is the file {stem}.pth in {library.tools[folder].folder}"


def why_no_restorer(name: str, library: Library) -> str:
    """What is said of a face restorer that is not here: its file, and where that belongs."""
    kind = RESTORERS.get(name)
    if kind is None:
        return f"no face restorer {name!r:.80}; there are {', '.join(RESTORERS)}"
    if kind.folder in library.tools:
        try:
            find_restorer(library.tools, name)
        except FaceWeightsMissing as error:
            return f"{name}: {error}"
    return f"{name} is not installed"
