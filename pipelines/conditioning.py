"""Chunks to conditioning: the text encoders' output, weighted by emphasis."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from .plan import Emphasis, Encoding
from .prompt.chunks import Chunk, Insertion
from .steps import Conditioning, Encode

if TYPE_CHECKING:
    from models.families.base import Checkpoint
    from models.families.text import Encoded

#: chunks that go through a text encoder at once
_TOGETHER = 64
#: what an encoder sees of a chunk: its weights come in afterwards
_Seen: TypeAlias = "tuple[tuple[int, ...], tuple[Insertion, ...]]"
#: the layers that are left out, and whether that counts for every encoder
_Skip = tuple[int, bool]


def encode(checkpoint: "Checkpoint", wanted: Encode) -> Conditioning:
    """Conditioning of a prompt's texts [texts,77*chunks,D] on the checkpoint's device.

    Texts of fewer chunks are lengthened by empty ones; the states of several encoders stand side
    by side. Where numbers are wanted, they follow the first chunk's pooled states in a vector
    [texts,P+n]. "Original" emphasis scales the texts' chunks of the same place back to the mean
    they had together, encoder by encoder, as the reference does.
    """
    return encode_together(checkpoint, [wanted])[0]


def encode_together(checkpoint: "Checkpoint", wanted: Sequence[Encode]) -> list[Conditioning]:
    """The same for several prompts; equal chunks go through the encoders once, and all together."""
    texts = [_lengthened(each) for each in wanted]
    seen: dict[_Skip, dict[_Seen, None]] = defaultdict(dict)
    for each, of_prompt in zip(wanted, texts, strict=True):
        seen[_skip(each.encoding)] |= {_seen(chunk): None for text in of_prompt for chunk in text}
    encoded = {skip: _encoded(checkpoint, list(chunks), skip) for skip, chunks in seen.items()}
    return [
        _conditioning(checkpoint, each, of_prompt, encoded[_skip(each.encoding)])
        for each, of_prompt in zip(wanted, texts, strict=True)
    ]


def _lengthened(wanted: Encode) -> list[tuple[Chunk, ...]]:
    """The texts, all with as many chunks as the longest has."""
    longest = max(len(text) for text in wanted.texts)
    return [(*text, *[wanted.empty] * (longest - len(text))) for text in wanted.texts]


def _skip(encoding: Encoding) -> _Skip:
    return encoding.clip_skip, encoding.always_skip


def _seen(chunk: Chunk) -> _Seen:
    return chunk.ids, chunk.insertions


def _conditioning(
    checkpoint: "Checkpoint",
    wanted: Encode,
    texts: Sequence[tuple[Chunk, ...]],
    encoded: Mapping[_Seen, Sequence["Encoded"]],
) -> Conditioning:
    """One prompt's, of what the encoders made of its chunks."""
    encoders = range(len(checkpoint.encoders))
    context = torch.cat(
        [
            torch.cat([_states(place, encoded, i, wanted.encoding.emphasis) for i in encoders], 2)
            for place in zip(*texts, strict=True)
        ],
        dim=1,
    )
    vector = None
    if wanted.numbers:
        text = torch.cat([_pooled(encoded[_seen(chunks[0])]) for chunks in texts])
        numbers = torch.tensor(wanted.numbers, device=context.device).expand(len(context), -1)
        vector = torch.cat([torch.zeros_like(text) if wanted.nothing else text, numbers], dim=1)
    return Conditioning(torch.zeros_like(context) if wanted.nothing else context, vector)


def _pooled(encoded: Sequence["Encoded"]) -> Tensor:
    """The pooled states [1,P] of one chunk, of those encoders that have any."""
    return torch.cat([each.pooled for each in encoded if each.pooled is not None], dim=1)


def _states(
    chunks: Sequence[Chunk],
    encoded: Mapping[_Seen, Sequence["Encoded"]],
    encoder: int,
    emphasis: Emphasis,
) -> Tensor:
    """What one encoder made of the texts' chunks of one place [texts,77,D], weighted."""
    states = torch.cat([encoded[_seen(chunk)][encoder].states for chunk in chunks])
    if emphasis not in ("Original", "No norm"):
        return states
    weights = torch.tensor([chunk.weights for chunk in chunks], device=states.device)
    weighted = states * weights.to(states.dtype).unsqueeze(-1)
    return weighted if emphasis == "No norm" else weighted * (states.mean() / weighted.mean())


def _encoded(
    checkpoint: "Checkpoint", chunks: Sequence[_Seen], skip: _Skip
) -> dict[_Seen, list["Encoded"]]:
    """Each encoder's output for each chunk, a row each. Raises `ClipSkipOutOfRange`."""
    found: dict[_Seen, list[Encoded]] = {chunk: [] for chunk in chunks}
    for start in range(0, len(chunks), _TOGETHER):
        part = chunks[start : start + _TOGETHER]
        ids = torch.tensor([ids for ids, _ in part], device=checkpoint.device)
        for i, encoder in enumerate(checkpoint.encoders):
            vectors = [
                [(each.position, each.embedding.tensors[i]) for each in insertions]
                for _, insertions in part
            ]
            output = encoder.encode(
                ids,
                end=checkpoint.traits.tokenizer.eos,
                clip_skip=skip[0],
                always_skip=skip[1],
                inserted=vectors,
            )
            for chunk, row in zip(part, output.rows(), strict=True):
                found[chunk].append(row)
    return found
