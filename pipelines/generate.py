"""One generation from top to bottom: encode the prompts, sample, decode.

It never calls the device: it yields what it needs (`steps.py`) and the engine answers.
"""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models.choice import ModelChoice

from .effects import Effects
from .encode import Texts, encode_texts, model_calls
from .guidance import Guidance
from .guided import Lead, Stopped
from .hires import second_pass
from .img2img import Start, encode_start, redraw
from .plan import Batch, Img2ImgPlan, Plan, Txt2ImgPlan
from .prompt.editing import Timing
from .sample import Pass, sample
from .shown import is_edit, is_inpainting, shown_nothing
from .steps import Decode, Offload, Stepping, Use
from .watch import Watch

if TYPE_CHECKING:
    from models.families.base import ModelTraits


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GeneratedImage:
    """A finished picture, uint8 [H,W,3], and its place in the plan.

    It is not `complete` where the job was told to stop, or its batch skipped, while it was drawn.
    `first` is what the first pass of a hires fix drew, where the plan has that kept. `latents`
    [C,h,w] are those it began with and those it ended with, where the mask of soft inpainting is
    made from them.
    """

    index: int
    pixels: NDArray[np.uint8]
    complete: bool = True
    first: NDArray[np.uint8] | None = None
    latents: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Generated:
    """What came of a plan; fewer pictures than asked for when interrupted."""

    images: list[GeneratedImage] = field(default_factory=list)
    effects: Effects = field(default_factory=Effects)


class Parted(Exception):
    """Raised where a generation waits for a model: it was told to stop, and is to end at once.

    The model that it was on is no longer in use, so that nothing of its batch can be decoded.
    """


def generation(plan: Plan, watch: Watch) -> Stepping[Generated]:
    """The pictures of a plan, batch by batch.

    Where it waits for a model, `Stopped` ends it with what that batch has so far, and `Parted` with
    the batches before it. Raises `BadPlan` for a model that cannot draw it.
    """
    done = Generated()
    with suppress(Stopped, Parted):
        yield from _batches(plan, watch, done)
    return done


def _batches(plan: Plan, watch: Watch, done: Generated) -> Stepping[None]:
    """Draw batch after batch into `done`."""
    effects = done.effects
    start: Start | None = None
    first: NDArray[np.uint8] | None = None
    for batch in plan.batches():
        if watch.interrupted:
            break
        watch.begin_batch(batch.index)
        if plan.before_batch is not None:
            notes = yield Offload(partial(plan.before_batch, batch.index))
            effects.notes |= dict.fromkeys(notes)
        traits = yield Use(batch.model, between=True)
        effects.notes |= dict.fromkeys(traits.notes)
        effects.inpainting_model, effects.edit_model = is_inpainting(traits), is_edit(traits)
        if isinstance(plan, Img2ImgPlan):
            start = start or (yield from encode_start(plan, traits))
            latents = yield from redraw(start, batch, plan, traits, watch, effects)
        else:
            assert isinstance(plan, Txt2ImgPlan)
            latents, first = yield from _txt2img(batch, plan, traits, watch, effects)
        complete = not watch.stopping
        pixels = yield Decode(latents, plan.vae_methods.decode)
        watch.finished(pixels)
        done.images.extend(
            GeneratedImage(
                index=batch.start + i,
                pixels=each,
                complete=complete,
                first=None if first is None else first[i],
                latents=_ends(plan, start, latents, i),
            )
            for i, each in enumerate(pixels)
        )


def _ends(
    plan: Plan, start: Start | None, latents: Tensor, image: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """The first and the last latents of a picture of soft inpainting."""
    inpainting = plan.init.inpainting if isinstance(plan, Img2ImgPlan) else None
    if start is None or inpainting is None or inpainting.soft is None:
        return None
    begun = start.latents[image if len(start.latents) > 1 else 0]
    return begun.float().cpu().numpy(), latents[image].float().cpu().numpy()


def loading(choice: ModelChoice) -> Stepping[Generated]:
    """No pictures: only the model brought onto the device."""
    yield Use(choice)
    return Generated()


def _txt2img(
    batch: Batch, plan: Txt2ImgPlan, traits: "ModelTraits", watch: Watch, effects: Effects
) -> Stepping[tuple[Tensor, NDArray[np.uint8] | None]]:
    """The latents of a batch, and the pictures of the first of two passes where they are kept."""
    calls = model_calls(plan.sampler)
    timing = Timing(steps=calls, old=plan.encoding.old_editing)
    texts = Texts(batch.prompts, batch.negative_prompts, plan.width, plan.height)

    def guide(traits: "ModelTraits") -> Stepping[Guidance]:
        method = plan.vae_methods.encode
        shown = yield from shown_nothing(plan.width, plan.height, method, traits)
        guidance = yield from encode_texts(texts, timing, calls, plan, traits, effects)
        return replace(guidance, shown=shown)

    refines_first = (
        plan.hires is None or plan.refiner is None or plan.refiner.hires != "second pass"
    )
    lead = Lead(guide=guide, refining=plan.refiner if refines_first else None)
    first = Pass(spec=plan.sampler, seeds=batch.seeds, width=plan.width, height=plan.height)
    latents = yield from sample(first, lead, traits, watch, effects)
    kept: NDArray[np.uint8] | None = None
    if plan.hires is not None and not watch.interrupted:
        if plan.hires.keep_first and not watch.stopping:
            kept = yield Decode(latents, plan.vae_methods.decode)
        # told to stop while it waits for the second pass's model, it has the first pass's latents
        with suppress(Stopped):
            latents = yield from second_pass(latents, batch, plan, plan.hires, watch, effects)
    return latents, kept
