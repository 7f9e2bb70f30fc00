"""Several generations told as one."""

from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from .wanted import Pictures


@dataclass(slots=True, eq=False)
class Series:
    """What a script remembers of its generations: what is told of them, but not their pictures."""

    first: Pictures | None = None
    last: Pictures | None = None
    params: dict[str, object] = field(default_factory=dict)

    def add(self, drawn: Pictures) -> Pictures:
        """Remember a generation; returns it."""
        light = replace(drawn, images=(), source=None)
        self.first = self.first or light
        self.last = light
        self.params |= drawn.extra_generation_params
        return drawn

    def reply(self, images: tuple[Image.Image, ...], **info: Any) -> Pictures:
        """`images` told as the reference does: by the first infotext, else as the last generation.

        `info` are fields that are told in another way.
        """
        assert self.first is not None and self.last is not None
        return replace(
            self.last,
            images=images,
            infotexts=self.first.infotexts[:1] * len(images),
            seed=self.first.seed,
            subseed=-1,
            extra_generation_params=self.params,
            info={**self.last.info, **info},
        )
