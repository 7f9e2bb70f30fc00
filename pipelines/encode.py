"""A batch's prompts become what guides it: editing, composition, chunks, the text encoder."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .contexts import separate
from .effects import Effects
from .guidance import Guidance, Part, Timeline
from .plan import Encoding, Plan, SamplerSpec
from .prompt.chunks import Chunk, chunk_prompt, used_embeddings
from .prompt.composition import split_composition
from .prompt.editing import Timing, parse_editing
from .prompt.networks import split_networks
from .samplers import find_sampler
from .steps import Conditioning, Encode, Stepping

if TYPE_CHECKING:
    from models.families.base import ModelTraits


@dataclass(frozen=True, slots=True)
class Texts:
    """The prompts of a batch, one of each kind an image, and the size of its pictures in pixels."""

    prompts: Sequence[str]
    negative_prompts: Sequence[str]
    width: int
    height: int


def model_calls(spec: SamplerSpec) -> int:
    """The model calls over which prompts change: two a step for second-order samplers."""
    return spec.steps * find_sampler(spec.name).calls_a_step


@dataclass(frozen=True, slots=True)
class _Encoder:
    """Encodes the prompts of a pass; equal ones are encoded once."""

    timing: Timing
    encoding: Encoding
    size: tuple[int, int]
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
        negative = kind == "negative"
        answer: Conditioning = yield Encode(
            tuple(chunks),
            empty,
            self.encoding,
            numbers=self._numbers(negative),
            # as in the reference: SDXL is guided away from zeros, not from an empty text's states
            nothing=self.traits.sizes is not None and negative and not any(texts),
        )
        told = dict(zip(texts, separate(answer), strict=True))
        return Timeline(
            tuple(stage.end for stage in stages), tuple(told[stage.text] for stage in stages)
        )

    def _numbers(self, negative: bool) -> tuple[float, ...]:
        """What the model is told of the picture's size, crop and looks, if anything."""
        width, height = self.size
        if self.traits.sizes is None:
            return ()
        first = (height, width, *self.encoding.crop)
        if self.traits.sizes == "sizes":
            return (*first, height, width)
        return (*first, self.encoding.scores[0 if negative else 1])

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
    encoder = _Encoder(timing, plan.encoding, (texts.width, texts.height), traits, effects)
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
    filler = (yield from encoder.timeline("filler", "")).told[0].context if guided_by.pad else None
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
