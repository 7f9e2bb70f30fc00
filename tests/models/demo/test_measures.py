"""Each measure gives a perfect server everything and a server without the feature nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
import pytest

from models.demo import EMBEDDING
from models.demo.client import Client, Picture
from models.demo.measures import MEASURES
from models.demo.world.polaroid import Polaroid
from models.demo.world.single import USUAL_RADIUS, VALENTINE, Subject, canonical
from models.demo.world.words import COLOURS, SHAPES, apart

PERFECT = dict.fromkeys(MEASURES, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing(Client):
    """Draws exactly what the words say, in place of a server; `without` leaves a feature out."""

    url: str = ""
    without: str = ""

    def txt2img(self, prompt: str, seed: int, **more: Any) -> Picture:
        return self._drawn(prompt, seed, more)

    def img2img(self, picture: Picture, prompt: str, seed: int, **more: Any) -> Picture:
        if "mask" not in more:
            strong = more["denoising_strength"] > 0.5 and self.without != "img2img"
            return self._drawn(prompt, seed, more) if strong else picture
        if self.without == "inpainting variant":
            return picture
        drawn = self._drawn(prompt, seed, more)
        if self.without == "inpainting":
            return drawn
        inside = more["mask"] > 0
        return np.where(inside, drawn, picture)

    def _drawn(self, prompt: str, seed: int, more: Mapping[str, Any]) -> Picture:
        if prompt == EMBEDDING.stem:
            unknown = replace(VALENTINE, foreground="green", background="white")
            return canonical(unknown if self.without == "textual inversion" else VALENTINE).draw(
                128
            )
        weight = re.search(r":([\d.]+)\)", prompt)
        words = re.sub(r"<.*>|:[\d.]+|[()]", "", prompt).split()
        shape = next(shape for shape in SHAPES if shape in words)
        foreground = words[words.index(shape) - 1]
        named = "background" in words
        ground = words[words.index("background") - 1] if named else "black"
        denied = (
            [] if self.without == "negative prompt" else more.get("negative_prompt", "").split()
        )
        if not named:
            rest = [name for name in COLOURS if name not in denied and apart(name, foreground)]
            ground = Random(seed).choice(rest)
        subject = Subject(shape=shape, foreground="red", background=ground)
        scene = replace(canonical(subject), foreground=COLOURS[foreground])
        if weight is not None and self.without != "emphasis":
            scene = replace(scene, radius=USUAL_RADIUS * float(weight[1]))
        size = 256 if more.get("enable_hr") and self.without != "hires fix" else 128
        framed = "<lora:" in prompt and self.without != "LoRA"
        return (Polaroid(inner=scene) if framed else scene).draw(size)


@pytest.mark.parametrize("name", MEASURES)
def test_a_perfect_server_has_all(name: str) -> None:
    shares = MEASURES[name](Drawing(), 12)
    assert shares == dict.fromkeys(shares, 1.0)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("negative prompt", "the named ground goes"),
        ("emphasis", "larger at 1.4"),
        ("img2img", "the prompt's colours at 0.8"),
        ("inpainting", "the rest untouched"),
        ("inpainting variant", "the shape's colour"),
        ("LoRA", "a white frame with it"),
        ("textual inversion", "the learnt colours"),
    ],
)
def test_a_server_without_the_feature_has_none(name: str, what: str) -> None:
    assert MEASURES[name](Drawing(without=name), 12)[what] <= 0.2
