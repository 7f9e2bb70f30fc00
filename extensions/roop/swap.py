"""A swap from order to outcome: whatever stands in its way is told, and the picture kept."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from ..protocol import Missing, Workshop
from .args import Order
from .safety import Verdict, look
from .sources import source_face
from .swapper import CannotSwap, Swapper, open_model

#: what an upscaler or restorer may fail of, which is no reason to lose the swapped faces
_FAILURES = (ArithmeticError, LookupError, ValueError, RuntimeError, OSError, MemoryError)
_LONGEST = 240
"""Characters of one reason, which is told in infotexts."""
_SHOWN = 8
"""Values that are listed in one reason."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A picture after a swap, and in words what became of it."""

    image: Image.Image
    told: str


def swap(
    workshop: Workshop,
    target: Image.Image,
    order: Order,
    stopped: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Put the source's leftmost face in the place of the faces ordered, then restore and enlarge.

    `stopped` is asked between faces. Modes with transparency keep it; where nothing is done the
    picture is returned as it is.
    """
    try:
        return _swap(workshop, target, order, stopped)
    except (Missing, CannotSwap) as reason:
        return Outcome(target, f"not swapped: {_short(reason)}")


def _swap(
    workshop: Workshop, target: Image.Image, order: Order, stopped: Callable[[], bool]
) -> Outcome:
    if order.source is None:
        raise CannotSwap("no source picture")
    picture, alpha = _apart(target)
    source = source_face(workshop, _apart(order.source)[0])
    if source is None:
        raise CannotSwap("no face in the source picture")
    swapper = open_model(workshop, order.model)
    verdict = look(workshop, picture)
    if verdict.against is not None:
        raise CannotSwap(f"the safety check found {verdict.against}")
    work = _Work(swapper=swapper, source=source, faces=tuple(workshop.faces(picture)))
    swapped = work.carry_out(picture, order, stopped)
    finished = _finished(workshop, swapped, order, work.notes)
    kept = finished is picture
    return Outcome(target if kept else _together(finished, alpha), work.told(order, verdict))


@dataclass(slots=True, kw_only=True)
class _Work:
    """The faces of one picture, and what became of those that were ordered."""

    swapper: Swapper
    source: Any
    faces: tuple[Any, ...]
    done: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def carry_out(
        self, picture: Image.Image, order: Order, stopped: Callable[[], bool]
    ) -> Image.Image:
        """The picture with the faces ordered swapped one after another."""
        there = [number for number in order.faces if number < len(self.faces)]
        pixels = np.ascontiguousarray(np.asarray(picture)[:, :, ::-1])
        for turn, number in enumerate(there):
            if turn and stopped():
                self.notes.append("interrupted")
                break
            try:
                pixels = self.swapper.swapped(pixels, self.faces[number], self.source)
            except CannotSwap as reason:
                self.notes.append(f"face {number} not swapped: {reason}")
            else:
                self.done.append(number)
        missing = [str(number) for number in order.faces if number >= len(self.faces)]
        if missing:
            there_are = f"of {len(self.faces)}" if self.faces else "in the picture"
            self.notes.append(f"no face {_listed(missing)} {there_are}")
        if not self.done:
            return picture
        return Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1]))

    def told(self, order: Order, verdict: Verdict) -> str:
        """All that there is to say, in one line."""
        said = ["not swapped"]
        if self.done:
            faces = "face" if len(self.done) == 1 else "faces"
            numbers = _listed([str(number) for number in self.done])
            safety = "checked" if verdict.checked else "not checked"
            said = [f"{faces} {numbers} swapped by {self.swapper.name}", f"safety {safety}"]
        ignored = [repr(part[:_SHOWN]) for part in order.ignored]
        if ignored:
            self.notes.append(f"{_listed(ignored)} no number of a face")
        return "; ".join((*said, *map(_short, self.notes)))


def _finished(
    workshop: Workshop, picture: Image.Image, order: Order, notes: list[str]
) -> Image.Image:
    """The picture enlarged and its faces restored, as far as that works; notes say what did not."""
    if order.upscaler is not None:
        try:
            larger = workshop.upscale(picture, order.upscaler, order.scale)
            visible = order.upscaler_visibility if order.scale == 1 else 1
            picture = _blended(picture, larger, visible)
        except _FAILURES as reason:
            notes.append(f"not enlarged: {reason}")
    elif order.scale != 1:
        notes.append("not enlarged: no upscaler is named")
    if order.restorer is not None:
        try:
            weight = float(workshop.options["code_former_weight"])
            restored = workshop.restore(picture, order.restorer, weight)
            picture = _blended(picture, restored, order.restorer_visibility)
        except _FAILURES as reason:
            notes.append(f"not restored: {reason}")
    return picture


def _blended(before: Image.Image, after: Image.Image, visible: float) -> Image.Image:
    if visible == 1:
        return after
    return Image.blend(before, after, visible)


def _apart(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """A picture in RGB, and its transparency."""
    if not image.has_transparency_data:
        return image.convert("RGB"), None
    full = image.convert("RGBA")
    return full.convert("RGB"), full.getchannel("A")


def _together(picture: Image.Image, alpha: Image.Image | None) -> Image.Image:
    if alpha is None:
        return picture
    if alpha.size != picture.size:
        alpha = alpha.resize(picture.size, Image.Resampling.LANCZOS)
    joined = picture.copy()
    joined.putalpha(alpha)
    return joined


def _listed(values: list[str]) -> str:
    shown = ", ".join(values[:_SHOWN])
    return shown if len(values) <= _SHOWN else f"{shown} and {len(values) - _SHOWN} more"


def _short(reason: object) -> str:
    text = " ".join(str(reason).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
