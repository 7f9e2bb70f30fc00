"""The contract: all that Darkroom and an extension see of each other. Runs in worker threads."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL.Image import Image

from .wanted import Mode, Names, Pictures, Wanted


class BadScriptArgs(ValueError):
    """An extension cannot run on what it is given; the text names the value and what is allowed."""


class Missing(LookupError):
    """Weights or a package are not here, or damaged; the text says which file goes where."""


def arg(default: Any, label: str, choices: Any = None, **span: float) -> Any:
    """A field of `Args`, shown with label, choices(mode, names), minimum, maximum and step."""
    return field(default=default, metadata={"label": label, "choices": choices, **span})


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What the server lends to every extension; each call blocks until it is answered."""

    options: Mapping[str, Any]
    names: Names
    folder: Callable[[str], Path]  # where files of a kind belong: "roop", "u2net", "insightface"
    weights: Callable[[str], Mapping[str, Path]]  # the files there, by their names below it
    session: Callable[[Hashable, Sequence[Path], Callable[[], Any]], Any]  # key, files, open it
    onnx: Callable[[], Mapping[str, Any]]  # `providers` and `sess_options`; raises Missing
    faces: Callable[[Image], Sequence[Any]]  # insightface's, left to right; raises Missing
    upscale: Callable[[Image, str, float], Image]  # by an upscaler's name, by a factor
    restore: Callable[[Image, str, float], Image]  # by a restorer's name, CodeFormer's weight
    beside: Callable[[Callable[[], Any]], Any]  # on another worker thread; a Future


@dataclass(frozen=True, slots=True, kw_only=True)
class Host(Workshop):
    """What an extension may ask for within a job."""

    expect: Callable[[int], None]  # how many generations there will be, for progress
    check: Callable[[Wanted], None]  # raises BadScriptArgs for a field that is out of bounds
    generate: Callable[[Wanted, Mapping[str, object]], Pictures]  # extra parameters to begin with
    describe: Callable[[Pictures, Mapping[str, object]], str]  # first infotext, parameters added
    stopped: Callable[[], bool]  # whether the client interrupted the job
    skipped: Callable[[], bool]  # whether the client skipped the latest generation
    find_checkpoint: Callable[[str], str | None]  # the name of what a part of a name means


@dataclass(frozen=True, slots=True)
class Touched:
    """A picture as a hook leaves it, and what its infotext and the reply tell of that."""

    image: Image
    told: Mapping[str, object] = field(default_factory=dict)


class Hook:
    """An always-on extension in one job, whose state is its attributes; overrides what it needs."""

    def before_job(self, wanted: Wanted) -> Wanted:
        """What is wanted in its place, before anything is drawn."""
        return wanted

    def before_batch(self, number: int) -> None:
        """Batch `number`, from 0, is drawn next."""

    def finish(self, image: Image) -> Touched:
        """A finished picture, before its colours are corrected and its surroundings put back."""
        return Touched(image)

    def after_batch(self, number: int, images: Sequence[Image]) -> Sequence[Image]:
        """Pictures to append to the reply, of those of a batch."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """`call` by its path; the reply holds JSON values and pictures, which are sent as PNG."""

    path: str
    call: Callable[[Workshop, Any], Mapping[str, Any] | None]
    args: type  # the body's fields; without any it is a GET


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """With `run` a script that clients select, with `begin` always on for jobs that name it."""

    title: str
    modes: tuple[Mode, ...]
    args: type
    run: Callable[[Host, Wanted, Any], Pictures] | None = None
    begin: Callable[[Host, Wanted, Any], Hook] | None = None
    routes: tuple[Route, ...] = ()
