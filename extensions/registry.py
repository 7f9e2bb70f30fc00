"""The extensions there are, found by title, and the hooks of those that a job names."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog
from PIL.Image import Image

from . import rembg, roop
from .binding import bind
from .protocol import BadScriptArgs, Extension, Hook, Host, Missing, Touched
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

T = TypeVar("T")
Change = Callable[[Image], Image]

EXTENSIONS: tuple[Extension, ...] = (
    img2img_alternative.EXTENSION,
    loopback.EXTENSION,
    outpainting_mk2.EXTENSION,
    poor_mans_outpainting.EXTENSION,
    prompt_matrix.EXTENSION,
    prompts_from_file.EXTENSION,
    sd_upscale.EXTENSION,
    xyz_plot.EXTENSION,
    rembg.EXTENSION,
    roop.EXTENSION,
)
"""What ships with the server, in the order in which clients are told of it."""


def scripts(mode: Mode, among: Iterable[Extension] = EXTENSIONS) -> list[Extension]:
    """The extensions that clients select in `script_name`."""
    return [each for each in among if each.run is not None and mode in each.modes]


def always_on(mode: Mode, among: Iterable[Extension] = EXTENSIONS) -> list[Extension]:
    """The extensions that clients name in `alwayson_scripts`."""
    return [each for each in among if each.begin is not None and mode in each.modes]


def find(title: str, among: Iterable[Extension]) -> Extension | None:
    """The extension of a title, in any case."""
    wanted = title.casefold()
    return next((each for each in among if each.title.casefold() == wanted), None)


@dataclass(frozen=True, slots=True)
class Named:
    """An always-on extension as one job names it."""

    extension: Extension
    args: Any

    @classmethod
    def of(cls, extension: Extension, sent: Any) -> "Named":
        """With the arguments sent; raises what `bind` raises."""
        return cls(extension, bind(extension, sent))


@dataclass(frozen=True, slots=True, kw_only=True)
class Treated:
    """A picture after all hooks, what they tell of it, and which failed."""

    picture: Image
    told: dict[str, object]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The hooks of one job by their titles, and what comes before them.

    One that fails leaves things as they were: its mistake costs no generation. `broken` says of
    some why they cannot be had; it is told of each picture.
    """

    hooks: tuple[tuple[str, Hook], ...] = ()
    before: tuple[tuple[str, Change], ...] = ()
    broken: tuple[str, ...] = ()

    @classmethod
    def begin(
        cls, named: Sequence[Named], host: Host, wanted: Wanted, broken: tuple[str, ...] = ()
    ) -> "Hooks":
        """Those of a job that names some.

        Raises `BadScriptArgs` for arguments that one of them refuses: nothing is drawn yet.
        """
        begun: list[tuple[str, Hook]] = []
        failed: list[str] = []
        for each in named:
            if each.extension.begin is None:
                continue
            title = each.extension.title
            hook, failure = guarded(
                title, each.extension.begin, host, wanted, each.args, passing=(BadScriptArgs,)
            )
            if failure is None:
                begun.append((title, hook))
            else:
                failed.append(failure)
        return cls(hooks=tuple(begun), broken=(*broken, *failed))

    def after(self, name: str, change: Change) -> "Hooks":
        """The same behind `change`, which is guarded as they are."""
        return replace(self, before=(*self.before, (name, change)))

    def before_job(self, wanted: Wanted) -> tuple[Wanted, "Hooks"]:
        """What is to be drawn in place of `wanted`, and the hooks with what went wrong."""
        failed: list[str] = []
        for title, hook in self.hooks:
            changed, failure = guarded(title, hook.before_job, wanted)
            if failure is None:
                wanted = changed
            else:
                failed.append(failure)
        return wanted, replace(self, broken=(*self.broken, *failed))

    def before_batch(self, number: int) -> tuple[str, ...]:
        """Tell the hooks which batch comes next; gives which of them failed."""
        failures = [guarded(title, hook.before_batch, number)[1] for title, hook in self.hooks]
        return tuple(failure for failure in failures if failure is not None)

    def finish(self, image: Image) -> Treated:
        """A finished picture after all hooks, one after another."""
        warnings = list(self.broken)
        told: dict[str, object] = {}
        for title, change in self._changes():
            touched, failure = guarded(title, change, image)
            if failure is None:
                image = touched.image
                told |= touched.told
            else:
                warnings.append(failure)
        return Treated(picture=image, told=told, warnings=tuple(warnings))

    def after_batch(
        self, number: int, images: Sequence[Image]
    ) -> tuple[tuple[Image, ...], tuple[str, ...]]:
        """Pictures to append to the reply, of those of a batch, and which hooks failed."""
        more: list[Image] = []
        failures: list[str] = []
        for title, hook in self.hooks:
            made, failure = guarded(title, hook.after_batch, number, images)
            if failure is None:
                more += made
            else:
                failures.append(failure)
        return tuple(more), tuple(failures)

    def _changes(self) -> Iterator[tuple[str, Callable[[Image], Touched]]]:
        for name, change in self.before:
            yield name, lambda image, change=change: Touched(change(image))  # type: ignore[misc]
        for title, hook in self.hooks:
            yield title, hook.finish


def guarded(
    title: str,
    action: Callable[..., T],
    *arguments: Any,
    passing: tuple[type[Exception], ...] = (),
) -> tuple[Any, str | None]:
    """What `action` gives, or None and what is said of its failure, whatever that is.

    Raises those errors that are `passing`.
    """
    try:
        return action(*arguments), None
    except passing:
        raise
    except (BadScriptArgs, Missing) as error:
        # meant for the client, who reads it
        log.warning("extension cannot work", extension=title, reason=str(error))
        return None, failure(title, error)
    except Exception as error:  # the one broad except of this room
        log.exception("extension failed", extension=title)
        return None, failure(title, error)


def failure(title: str, error: Exception) -> str:
    """What is said of an extension that failed."""
    return f"{title}: {type(error).__name__}: {error}"[:_LONGEST]


NO_HOOKS = Hooks()
"""Those of a job that names none."""
