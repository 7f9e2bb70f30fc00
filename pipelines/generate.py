"""One generation from top to bottom: encode the prompts, sample, decode.

It never calls the device: it yields what it needs (`steps.py`) and the engine answers.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .encode import Texts, encode_texts, model_calls
from .guidance import Guidance
from .hires import second_pass
from .plan import BadPlan, Batch, Txt2ImgPlan
from .prompt.editing import Timing
from .sample import Pass, sample
from .steps import Decode, Stepping
from .watch import Watch

if TYPE_CHECKING:
    from models.families.base import Checkpoint


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GeneratedImage:
    """A finished picture, uint8 [H,W,3], and its place in the plan."""

    index: int
    pixels: NDArray[np.uint8]


def txt2img(
    plan: Txt2ImgPlan, checkpoint: "Checkpoint", watch: Watch
) -> Stepping[list[GeneratedImage]]:
    """The pictures of a plan, batch by batch; fewer when interrupted.

    Raises `BadPlan` for a checkpoint that wants more than latents, such as an inpainting one.
    """
    if checkpoint.in_channels != checkpoint.latent_channels:
        raise BadPlan(
            f"checkpoint {plan.checkpoint.name!r} takes {checkpoint.in_channels} channels, as for "
            f"inpainting: not supported yet; allowed: those that take {checkpoint.latent_channels}"
        )
    images: list[GeneratedImage] = []
    for batch in plan.batches():
        if watch.interrupted:
            break
        watch.begin_batch(batch.index)
        guidance = yield from _encode(batch, plan, checkpoint)
        first = Pass(spec=plan.sampler, seeds=batch.seeds, width=plan.width, height=plan.height)
        latents = yield from sample(first, guidance, checkpoint, watch)
        if plan.hires is not None and not watch.interrupted:
            latents = yield from second_pass(latents, batch, plan, plan.hires, checkpoint, watch)
        pixels = yield Decode(latents)
        start = batch.index * plan.batch_size
        images += [GeneratedImage(index=start + i, pixels=p) for i, p in enumerate(pixels)]
    return images


def _encode(batch: Batch, plan: Txt2ImgPlan, checkpoint: "Checkpoint") -> Stepping[Guidance]:
    timing = Timing(steps=model_calls(plan.sampler), old=plan.encoding.old_editing)
    texts = Texts(batch.prompts, batch.negative_prompts)
    return (yield from encode_texts(texts, timing, plan, checkpoint))
