"""Chunks to conditioning: the text encoders' output, weighted by emphasis."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .plan import Emphasis
from .prompt.chunks import Chunk
from .steps import Conditioning, Encode

if TYPE_CHECKING:
    from models.families.base import Checkpoint
    from models.families.text import Encoded


def encode(checkpoint: "Checkpoint", wanted: Encode) -> Conditioning:
    """Conditioning of a prompt's texts [texts,77*chunks,D] on the checkpoint's device.

    Texts of fewer chunks are lengthened by empty ones; the states of several encoders stand side
    by side. Where numbers are wanted, they follow the first chunk's pooled states in a vector
    [texts,P+n]. "Original" emphasis scales the texts' chunks of the same place back to the mean
    they had together, encoder by encoder, as the reference does.
    """
    longest = max(len(text) for text in wanted.texts)
    texts = [(*text, *[wanted.empty] * (longest - len(text))) for text in wanted.texts]
    places = [_encode_place(checkpoint, wanted, place) for place in zip(*texts, strict=True)]
    context = torch.cat([torch.cat([each.states for each in place], 2) for place in places], 1)
    vector = None
    if wanted.numbers:
        pooled = [each.pooled for each in places[0] if each.pooled is not None]
        numbers = torch.tensor(wanted.numbers, device=context.device).expand(len(context), -1)
        text = torch.cat(pooled, dim=1)
        vector = torch.cat([torch.zeros_like(text) if wanted.nothing else text, numbers], dim=1)
    return Conditioning(torch.zeros_like(context) if wanted.nothing else context, vector)


def _encode_place(
    checkpoint: "Checkpoint", wanted: Encode, chunks: Sequence[Chunk]
) -> list["Encoded"]:
    """Each encoder's output for one chunk of each text, weighted."""
    ids = torch.tensor([chunk.ids for chunk in chunks], device=checkpoint.device)
    weights = torch.tensor([chunk.weights for chunk in chunks], device=checkpoint.device)
    found: list[Encoded] = []
    for i, encoder in enumerate(checkpoint.encoders):
        vectors = [
            [(each.position, each.embedding.tensors[i]) for each in chunk.insertions]
            for chunk in chunks
        ]
        encoded = encoder.encode(
            ids,
            end=checkpoint.traits.tokenizer.eos,
            clip_skip=wanted.encoding.clip_skip,
            always_skip=wanted.encoding.always_skip,
            inserted=vectors,
        )
        states = _weighted(encoded.states, weights, wanted.encoding.emphasis)
        found.append(replace(encoded, states=states))
    return found


def _weighted(states: Tensor, weights: Tensor, emphasis: Emphasis) -> Tensor:
    """`states` [texts,77,D] times the tokens' `weights` [texts,77]."""
    if emphasis not in ("Original", "No norm"):
        return states
    weighted = states * weights.to(states.dtype).unsqueeze(-1)
    return weighted if emphasis == "No norm" else weighted * (states.mean() / weighted.mean())
