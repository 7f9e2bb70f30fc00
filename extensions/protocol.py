"""The contract: all that Darkroom and an extension see of each other. Runs in worker threads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from PIL.Image import Image

Mode = Literal["txt2img", "img2img"]
Names = Mapping[str, Sequence[str]]  # of upscalers, samplers, schedulers, checkpoints, vaes


class BadScriptArgs(ValueError):
    """A script cannot run on what it is given; the text names the value and what is allowed."""


def arg(default: Any, label: str, choices: Any = None, **span: float) -> Any:
    """A field of `Args`, shown with label, choices(mode, names), minimum, maximum and step."""
    return field(default=default, metadata={"label": label, "choices": choices, **span})


@dataclass(frozen=True, slots=True)
class Wanted:
    """A generation as it is asked for: a request's fields by the names of the wire, as attributes.

    `prompt`, `negative_prompt` and `seed` hold one value, or a tuple with one an image. Pictures
    (`init_images`, a tuple; `mask`; `latent_mask`) are Pillow's. Sampler names are resolved.
    `inversion` (img2img) is None, or an `Inversion` in the place of fresh noise.
    """

    mode: Mode
    fields: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        if name in self.fields:
            return self.fields[name]
        raise AttributeError(f"a {self.mode} request has no {name!r}")

    def changed(self, **changes: object) -> "Wanted":
        """The same but for `changes`."""
        return Wanted(self.mode, MappingProxyType({**self.fields, **changes}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Inversion:
    """The noise that would have become the init picture, found by sampling it backwards."""

    prompt: str
    negative_prompt: str
    steps: int
    cfg_scale: float
    randomness: float
    sigma_adjustment: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """A reply in the making. An image's `info["parameters"]` is the infotext of its file."""

    images: tuple[Image, ...]
    infotexts: tuple[str, ...]
    all_prompts: tuple[str, ...]
    all_negative_prompts: tuple[str, ...]
    seed: int
    all_seeds: tuple[int, ...]
    subseed: int
    all_subseeds: tuple[int, ...]
    extra_generation_params: Mapping[str, object]
    info: Mapping[str, object]  # what else the reply tells, by the names of the wire
    index_of_first_image: int = 0
    source: object = None  # the host's own, to be handed on


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What a running script may ask for; every call blocks until it is answered."""

    options: Mapping[str, Any]
    names: Names
    expect: Callable[[int], None]  # how many generations there will be, for progress
    check: Callable[[Wanted], None]  # raises BadScriptArgs for a field that is out of bounds
    generate: Callable[[Wanted, Mapping[str, object]], Pictures]  # extra parameters to begin with
    describe: Callable[[Pictures, Mapping[str, object]], str]  # first infotext, parameters added
    stopped: Callable[[], bool]  # whether the client interrupted the job
    skipped: Callable[[], bool]  # whether the client skipped the latest generation
    upscale: Callable[[Image, str, float], Image]  # by an upscaler's name, by a factor
    find_checkpoint: Callable[[str], str | None]  # the name of what a part of a name means


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """With `run` a script that clients select, with `finish` on for each picture of its jobs."""

    title: str
    modes: tuple[Mode, ...]
    args: type
    run: Callable[[Host, Wanted, Any], Pictures] | None = None
    finish: Callable[[Image, Wanted, Any], Image] | None = None
