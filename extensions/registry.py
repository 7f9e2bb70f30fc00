"""The extensions there are, found by title, and the hooks of those that a job names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from PIL.Image import Image

from .binding import bind
from .protocol import Extension, Mode, Wanted
from .scripts import (
    img2img_alternative,
    loopback,
    outpainting_mk2,
    poor_mans_outpainting,
    prompt_matrix,
    prompts_from_file,
    sd_upscale,
    xyz_plot,
)

log = structlog.get_logger(__name__)

EXTENSIONS = (
    img2img_alternative.EXTENSION,
    loopback.EXTENSION,
    outpainting_mk2.EXTENSION,
    poor_mans_outpainting.EXTENSION,
    prompt_matrix.EXTENSION,
    prompts_from_file.EXTENSION,
    sd_upscale.EXTENSION,
    xyz_plot.EXTENSION,
)
"""What ships with the server, in the order in which clients are told of it."""


def scripts(mode: Mode, among: Sequence[Extension] = EXTENSIONS) -> list[Extension]:
    """The extensions that clients select in `script_name`."""
    return [each for each in among if each.run is not None and mode in each.modes]


def always_on(mode: Mode, among: Sequence[Extension] = EXTENSIONS) -> list[Extension]:
    """The extensions that clients name in `alwayson_scripts`."""
    return [each for each in among if each.run is None and mode in each.modes]


def find(title: str, among: Sequence[Extension]) -> Extension | None:
    """The extension of a title, in any case."""
    wanted = title.casefold()
    return next((each for each in among if each.title.casefold() == wanted), None)


@dataclass(frozen=True, slots=True)
class Hook:
    """An always-on extension as one job uses it."""

    extension: Extension
    args: Any

    @classmethod
    def of(cls, extension: Extension, sent: Any) -> "Hook":
        """With the arguments sent; raises what `bind` raises."""
        return cls(extension, bind(extension, sent))


@dataclass(frozen=True, slots=True)
class Hooks:
    """The hooks of one job, and what it was asked for."""

    hooks: tuple[Hook, ...] = ()
    wanted: Wanted | None = None

    def finish(self, image: Image) -> tuple[Image, tuple[str, ...]]:
        """A finished picture after all hooks, one after another, and warnings.

        One that fails leaves the picture as it was: its mistake costs no generation.
        """
        warnings: list[str] = []
        for hook in self.hooks:
            if hook.extension.finish is None or self.wanted is None:
                continue
            try:
                image = hook.extension.finish(image, self.wanted, hook.args)
            except Exception as error:  # the one broad except of this room
                log.exception("extension failed", extension=hook.extension.title)
                warnings.append(f"{hook.extension.title}: {type(error).__name__}: {error}")
        return image, tuple(warnings)


NO_HOOKS = Hooks()
"""Those of a job that names none."""
