"""Captions as CLIP token rows and weights, framed exactly as the server frames a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import CLIPTextModel

from ..world.caption import Caption
from .networks import VOCABULARY

SHIPPED_TOKENIZER = Path(__file__).parents[2] / "families" / "clip_tokenizer" / "tokenizer.json"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TokenRows:
    """Token ids, int64 [N, 77], and how strongly each is stressed, float32 [N, 77]."""

    ids: Tensor
    weights: Tensor


class CaptionTokens:
    """Turns captions into rows: BOS, the words, EOS to the end."""

    def __init__(self, path: Path = SHIPPED_TOKENIZER) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def __call__(self, captions: Sequence[Caption]) -> TokenRows:
        framed = [self._framed(caption) for caption in captions]
        return TokenRows(
            ids=torch.tensor([ids for ids, _ in framed]),
            weights=torch.tensor([weights for _, weights in framed]),
        )

    def _framed(self, caption: Caption) -> tuple[list[int], list[float]]:
        ids: list[int] = [VOCABULARY.bos]
        weights = [1.0]
        for words, weight in caption.parts:
            found = self._tokenizer.encode(words, add_special_tokens=False).ids
            ids += found
            weights += [weight] * len(found)
        room = VOCABULARY.length - 1
        padding = VOCABULARY.length - len(ids[:room])
        return (
            [*ids[:room], *[VOCABULARY.eos] * padding],
            [*weights[:room], *[1.0] * padding],
        )


def conditioning(encoder: CLIPTextModel, rows: TokenRows) -> Tensor:
    """What the UNet sees of the rows, float32 [N, 77, width].

    As in webui, a weight scales its token's vector and the row's mean is kept.
    """
    hidden: Tensor = encoder(rows.ids).last_hidden_state
    stressed = hidden * rows.weights[..., None]
    means = (hidden.mean((1, 2), keepdim=True), stressed.mean((1, 2), keepdim=True))
    return stressed * (means[0] / means[1])
