"""The extensions there are, found by title, and the hooks of those that a job names."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog
from PIL.Image import Image

from .binding import bind
from .protocol import Extension
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
from .wanted import Mode, Wanted

log = structlog.get_logger(__name__)

_LONGEST = 300
"""Characters of a warning, which is told in infotexts."""

Change = Callable[[Image], Image]

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
    """The hooks of one job, what it was asked for, and what comes first, by name.

    `broken` says of hooks why they cannot be had; it is told of each picture.
    """

    hooks: tuple[Hook, ...] = ()
    wanted: Wanted | None = None
    before: tuple[tuple[str, Change], ...] = ()
    broken: tuple[str, ...] = ()

    def after(self, name: str, change: Change) -> "Hooks":
        """The same behind `change`, which is guarded as they are."""
        return replace(self, before=(*self.before, (name, change)))

    def finish(self, image: Image) -> tuple[Image, tuple[str, ...]]:
        """A finished picture after all hooks, one after another, and warnings.

        One that fails leaves the picture as it was: its mistake costs no generation.
        """
        warnings = list(self.broken)
        for title, change in self._changes():
            try:
                image = change(image)
            except Exception as error:  # the one broad except of this room
                log.exception("extension failed", extension=title)
                warnings.append(failure(title, error))
        return image, tuple(warnings)

    def _changes(self) -> Iterator[tuple[str, Change]]:
        yield from self.before
        for hook in self.hooks:
            if hook.extension.finish is not None and self.wanted is not None:
                yield hook.extension.title, partial(_finished, hook, self.wanted)


def failure(title: str, error: Exception) -> str:
    """What is said of an extension that failed."""
    return f"{title}: {type(error).__name__}: {error}"[:_LONGEST]


def _finished(hook: Hook, wanted: Wanted, image: Image) -> Image:
    assert hook.extension.finish is not None
    return hook.extension.finish(image, wanted, hook.args)


NO_HOOKS = Hooks()
"""Those of a job that names none."""
