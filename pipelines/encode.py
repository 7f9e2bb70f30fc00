"""A batch's prompts become what guides it: editing, composition, chunks, the text encoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .guidance import Guidance, Part, Timeline
from .plan import Encoding, SamplerSpec, Txt2ImgPlan
from .prompt.chunks import Chunk, chunk_prompt
from .prompt.composition import split_composition
from .prompt.editing import Timing, parse_editing
from .prompt.networks import split_networks
from .samplers import find_sampler
from .steps import Encode, Stepping

if TYPE_CHECKING:
    from models.families.base import Checkpoint


@dataclass(frozen=True, slots=True)
class Texts:
    """The prompts of a batch, one of each kind an image."""

    prompts: Sequence[str]
    negative_prompts: Sequence[str]


def model_calls(spec: SamplerSpec) -> int:
    """The model calls over which prompts change: two a step for second-order samplers."""
    return spec.steps * find_sampler(spec.name).calls_a_step


def encode_texts(
    texts: Texts, timing: Timing, plan: Txt2ImgPlan, checkpoint: "Checkpoint"
) -> Stepping[Guidance]:
    """What guides the images of `texts` over a pass; equal prompts are encoded once."""
    known: dict[str, Timeline] = {}

    def timeline(prompt: str) -> Stepping[Timeline]:
        if prompt not in known:
            known[prompt] = yield from _timeline(prompt, timing, plan.encoding, checkpoint)
        return known[prompt]

    conds: list[tuple[Part, ...]] = []
    unconds: list[Timeline] = []
    for prompt, negative in zip(texts.prompts, texts.negative_prompts, strict=True):
        parts: list[Part] = []
        # extra networks and AND are read from the positive prompt alone; elsewhere they are text
        for part in split_composition(split_networks(prompt)[0]):
            parts.append(Part((yield from timeline(part.text)), part.weight))
        conds.append(tuple(parts))
        unconds.append((yield from timeline(negative)))
    guided_by = plan.guidance
    return Guidance(
        conds=tuple(conds),
        unconds=tuple(unconds),
        scale=guided_by.scale,
        calls=timing.steps,
        s_min_uncond=guided_by.s_min_uncond,
        s_min_uncond_all=guided_by.s_min_uncond_all,
        skip_early=guided_by.skip_early,
        filler=(yield from timeline("")).contexts[0] if guided_by.pad else None,
    )


def _timeline(
    prompt: str, timing: Timing, encoding: Encoding, checkpoint: "Checkpoint"
) -> Stepping[Timeline]:
    """The conditioning of a prompt over the model calls that `timing` counts."""
    stages = parse_editing(prompt, timing)
    texts = tuple(dict.fromkeys(stage.text for stage in stages))
    *chunks, (empty,) = (_chunks(text, encoding, checkpoint) for text in (*texts, ""))
    answer: Tensor = yield Encode(tuple(chunks), empty, encoding)
    contexts = dict(zip(texts, torch.split(answer, 1), strict=True))
    return Timeline(
        tuple(stage.end for stage in stages), tuple(contexts[stage.text] for stage in stages)
    )


def _chunks(text: str, encoding: Encoding, checkpoint: "Checkpoint") -> tuple[Chunk, ...]:
    return chunk_prompt(
        text,
        checkpoint.tokenizer,
        backtrack=encoding.comma_backtrack,
        emphasis=encoding.emphasis != "None",
    )
