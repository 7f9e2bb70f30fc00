"""A generation as extensions see it: as it is asked for, and its pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from PIL.Image import Image

#: a kind of jobs: generations, or work on finished pictures
Mode = Literal["txt2img", "img2img", "extras"]
#: of upscalers, restorers, samplers, schedulers, checkpoints, vaes
Names = Mapping[str, Sequence[str]]


class NoPicture(ValueError):
    """A picture that is needed was not sent."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job as it is asked for: a request's fields by the names of the wire, as attributes.

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
