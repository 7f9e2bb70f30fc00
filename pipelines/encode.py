"""A batch's prompts become what guides it: editing, composition, chunks, the text encoder."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .effects import Effects
from .guidance import Guidance, Part, Timeline
from .plan import Encoding, Plan, SamplerSpec
from .prompt.chunks import Chunk, chunk_prompt, used_embeddings
from .prompt.composition import split_composition
from .prompt.editing import Timing, parse_editing
from .prompt.networks import split_networks
from .samplers import find_sampler
from .steps import Encode, Stepping

if TYPE_CHECKING:
    from models.families.base import ModelTraits


@dataclass(frozen=True, slots=True)
class Texts:
    """The prompts of a batch, one of each kind an image."""

    prompts: Sequence[str]
    negative_prompts: Sequence[str]


def model_calls(spec: SamplerSpec) -> int:
    """The model calls over which prompts change: two a step for second-order samplers."""
    return spec.steps * find_sampler(spec.name).calls_a_step


@dataclass(frozen=True, slots=True)
class _Encoder:
    """Encodes the prompts of a pass; equal ones are encoded once."""

    timing: Timing
    encoding: Encoding
    traits: "ModelTraits"
    effects: Effects | None
    known: dict[tuple[str, str], Timeline] = field(default_factory=dict)

    def timeline(self, kind: str, prompt: str) -> Stepping[Timeline]:
        """The conditioning of a prompt over the model calls that `timing` counts."""
        if (kind, prompt) not in self.known:
            self.known[kind, prompt] = yield from self._encode(kind, prompt)
        return self.known[kind, prompt]

    def _encode(self, kind: str, prompt: str) -> Stepping[Timeline]:
        stages = parse_editing(prompt, self.timing)
        texts = tuple(dict.fromkeys(stage.text for stage in stages))
        *chunks, (empty,) = (self._chunks(text) for text in (*texts, ""))
        if self.effects is not None:
            used = used_embeddings(chunks)
            self.effects.encoded(kind, prompt, ((each.name, each.short_hash) for each in used))
            self.effects.emphasised |= any("(" in text or "[" in text for text in texts)
        answer: Tensor = yield Encode(tuple(chunks), empty, self.encoding)
        contexts = dict(zip(texts, torch.split(answer, 1), strict=True))
        return Timeline(
            tuple(stage.end for stage in stages), tuple(contexts[stage.text] for stage in stages)
        )

    def _chunks(self, text: str) -> tuple[Chunk, ...]:
        return chunk_prompt(
            text,
            self.traits.tokenizer,
            backtrack=self.encoding.comma_backtrack,
            emphasis=self.encoding.emphasis != "None",
            embeddings=self.traits.embeddings,
        )


def encode_texts(
    texts: Texts,
    timing: Timing,
    calls: int,
    plan: Plan,
    traits: "ModelTraits",
    effects: Effects | None,
) -> Stepping[Guidance]:
    """What guides the images of `texts` over a pass of `calls`; equal prompts are encoded once.

    What the prompts used is noted in `effects`, as in the reference by the first pass alone.
    """
    encoder = _Encoder(timing, plan.encoding, traits, effects)
    unconds: list[Timeline] = []
    for negative in texts.negative_prompts:
        unconds.append((yield from encoder.timeline("negative", negative)))
    conds: list[tuple[Part, ...]] = []
    for prompt in texts.prompts:
        parts: list[Part] = []
        # extra networks and AND are read from the positive prompt alone; elsewhere they are text
        for part in split_composition(split_networks(prompt)[0]):
            parts.append(Part((yield from encoder.timeline("prompt", part.text)), part.weight))
        conds.append(tuple(parts))
    guided_by = plan.guidance
    filler = (yield from encoder.timeline("filler", "")).contexts[0] if guided_by.pad else None
    return Guidance(
        conds=tuple(conds),
        unconds=tuple(unconds),
        scale=guided_by.scale,
        calls=calls,
        s_min_uncond=guided_by.s_min_uncond,
        s_min_uncond_all=guided_by.s_min_uncond_all,
        skip_early=guided_by.skip_early,
        filler=filler,
        match=guided_by.match,
    )
